"""The spec: a campaign file as its liaison writes it. Every key is described here and in docs/spec.md.

The reader hands in mappings, tuples and plain values; the models are strict and convert nothing silently.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from include.campaign.identifiers import (
    NAME_PATTERN,
    WORD_PATTERN,
    check_environment_name,
    check_known,
    check_name,
    check_stage_name,
    check_word,
)
from include.campaign.jobsub_options import check_jobsub_options
from include.campaign.units import SIZE_PATTERN, TIME_PATTERN, parse_size, parse_time
from include.campaign.wording import shown

BASE_CHECKS = ("exit", "outputs", "size", "checksum", "root")
"""The checks that every campaign has, in order; `root` opens the file, finds the tree, counts."""

MAX_SUBRUNS = 10_000
"""Jobs in one cluster: more than that blocks a schedd for others."""
MAX_SLICES = 1000
"""Airflow maps at most 1024 slices in one dag_run."""

SPEC_KEYS_THAT_MAY_BE_NULL = frozenset({"schedule", "role", "tree"})


def _text(value: object) -> object:
    # An integer reads the same as text, so `[--events, 100]` needs no quotes; 1.50 or true would not.
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        if "\0" in value or "\n" in value:
            raise ValueError(f"{shown(value)} must be one line")
        return value
    what = "text that begins with '{'" if isinstance(value, dict) else "it"
    raise ValueError(f"must be text, not {shown(value)}: put {what} in quotes")


def _variable(value: object) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        # pydantic takes a ValueError for a finding, a TypeError for a bug
        raise ValueError(f"must be text or a number, not {shown(value)}")  # noqa: TRY004
    if isinstance(value, str) and (len(value) > 200 or any(char in value for char in "{}\n\0")):
        raise ValueError(
            f"{shown(value)}: a variable is one line of at most 200 characters, without {{ and }}"
        )
    return value


def _events(value: object) -> int:
    if value == "any":
        return 0
    if type(value) is not int or value < 1:
        raise ValueError(f"must be a whole number of at least 1, or 'any', not {shown(value)}")
    return value


def _jobsub_options(options: tuple[str, ...]) -> tuple[str, ...]:
    check_jobsub_options(options)
    return options


def _schedule(value: str) -> str:
    presets = ("@once", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
    if value.startswith("@"):
        return check_known(value, presets, what="schedule preset")
    if len(value.split()) != 5:
        raise ValueError(f"{shown(value)} is neither five cron fields nor one of {', '.join(presets)}")
    return value


def _check_name(value: str) -> str:
    return check_known(value, BASE_CHECKS, what="check")


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=1),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["500 MB", "2 GB"]}),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_time),
    Field(ge=1),
    WithJsonSchema({"type": "string", "pattern": TIME_PATTERN, "examples": ["30 min", "8 h"]}),
]
Limit = Annotated[
    int, BeforeValidator(parse_time), WithJsonSchema({"type": "string", "pattern": TIME_PATTERN})
]
Name = Annotated[str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Word = Annotated[str, AfterValidator(check_word), WithJsonSchema({"type": "string", "pattern": WORD_PATTERN})]
StageName = Annotated[
    str, AfterValidator(check_stage_name), WithJsonSchema({"type": "string", "pattern": WORD_PATTERN})
]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
Label = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=100)]
Variable = Annotated[
    str | int | float, PlainValidator(_variable), WithJsonSchema({"type": ["string", "number"]})
]
Events = Annotated[
    int,
    BeforeValidator(_events),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "any"}]}),
]
EnvironmentName = Annotated[str, AfterValidator(check_environment_name)]
CheckName = Annotated[
    str, AfterValidator(_check_name), WithJsonSchema({"type": "string", "enum": list(BASE_CHECKS)})
]
Checks = dict[CheckName, bool]
JobsubOptions = Annotated[tuple[Text, ...], AfterValidator(_jobsub_options)]
Keep = Literal["forever", "until-merged"]


class SpecModel(BaseModel):
    """Base: unknown keys are refused, nothing can be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class RunsSpec(SpecModel):
    """Run numbers that the campaign may use."""

    first: int = Field(ge=1, le=999_999_999, description="First run number.")
    last: int = Field(ge=1, le=999_999_999, description="Last run number, included.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"the last run, {self.last}, is before the first, {self.first}")
        return self


class StorageSpec(SpecModel):
    """Where files go; templates of the plan-time variables."""

    outstage: str = Field(
        default="{area}/outstage/{experiment}/{campaign}", description="Area that outputs are staged out to."
    )
    logs: str = Field(
        default="{area}/logs/{experiment}/{campaign}", description="Area that job logs are copied to."
    )


class CleanupSpec(SpecModel):
    """What runs once a slice's files are merged and verified."""

    script: str = Field(description="Called with the list of files that are safe to remove.")


class InputSpec(SpecModel):
    """Where one input comes from; `signal: gen` means `signal: {stage: gen}`, `gen.hits` names an output."""

    stage: str | None = Field(default=None, description="Parent stage.")
    output: str | None = Field(
        default=None, description="Which of the parent's outputs; needed where it has several."
    )
    select: Literal["same", "all"] = Field(
        default="same",
        description="same: the files of the job's own subruns; all: every file of the parent in this slice.",
    )
    files: str | None = Field(
        default=None, description="A file with one path or URL a line, in place of `stage`."
    )
    per_job: int = Field(
        default=1, ge=1, le=10_000, description="With `files`: how many consecutive files a job takes."
    )
    reuse: bool = Field(
        default=False,
        description="With `files`: true: the list wraps round at its end; false: each is read once.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            stage, _, output = value.partition(".")
            return {"stage": stage, "output": output} if output else {"stage": stage}
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.stage is None) == (self.files is None):
            raise ValueError("give either 'stage' or 'files'")
        wrong = {"output", "select"} if self.files is not None else {"per_job", "reuse"}
        for key in sorted(wrong & self.model_fields_set):
            raise ValueError(f"{key!r} goes with {'stage' if self.files is not None else 'files'!r} only")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        short = {"type": "string", "description": "STAGE or STAGE.OUTPUT"}
        return {"anyOf": [short, handler(core_schema)]}


class OutputSpec(SpecModel):
    """One kind of file that every job of a stage makes."""

    file: str = Field(description="File name, a template with {run} and {subrun}.")
    tree: str | None = Field(default=None, description="TTree that must be there; null: not a ROOT file.")
    events: Events | None = Field(
        default=None, description="Events a subrun must hold; default: the stage's; any: at least one."
    )
    keep: Keep | None = Field(
        default=None, description="until-merged: may be removed once all made from it is merged and verified."
    )


class JobKeys(SpecModel):
    """Keys that `defaults`, stages and merges share; what a stage does not say, `defaults` says."""

    memory: Size | None = Field(default=None, description="Memory of one job.")
    disk: Size | None = Field(default=None, description="Scratch space of one job.")
    cpus: Annotated[int, Field(ge=1, le=256)] | None = Field(default=None, description="Cores of one job.")
    lifetime: Duration | None = Field(default=None, description="Longest wall time of one job.")
    success_threshold: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Fraction of subruns that must be accepted for the stage to be good."
    )
    hold_limit: Limit | None = Field(
        default=None, description="A job held for longer is reported as held instead of waited for."
    )
    unknown_limit: Limit | None = Field(
        default=None, description="A job that neither queue nor history knows is reported after this time."
    )
    jobsub_options: JobsubOptions | None = Field(
        default=None, description="Further options of jobsub_submit, passed as they are."
    )
    environment: dict[EnvironmentName, Text] = Field(
        default_factory=dict, description="Environment variables for the script; added to the defaults'."
    )


class StageDefaults(JobKeys):
    """Values for the keys that a stage leaves out."""

    arguments: tuple[Text, ...] | None = Field(
        default=None, description="Arguments of the script, templates."
    )
    files: tuple[Text, ...] | None = Field(
        default=None, description="Files sent along, relative to the campaign file's folder."
    )
    events: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Events asked for per subrun."
    )
    tree: str | None = Field(default=None, description="TTree that the outputs must have.")
    keep: Keep | None = Field(default=None, description="forever (default) or until-merged, for the outputs.")


class StageSpec(StageDefaults):
    """One stage: the same script for every subrun of a slice."""

    script: str = Field(description="What a job runs, relative to the campaign file's folder, or absolute.")
    inputs: dict[Word, InputSpec] = Field(
        default_factory=dict, description="Input name → where its files come from."
    )
    output: str | None = Field(default=None, description="File name of the only output, a template.")
    outputs: dict[Word, OutputSpec] = Field(
        default_factory=dict, description="Output name → file, where there are several."
    )
    checks: Checks = Field(default_factory=dict, description="Base checks switched on or off for this stage.")

    @model_validator(mode="after")
    def _some_output(self) -> Self:
        if (self.output is None) == (not self.outputs):
            raise ValueError("give either 'output' (one file) or 'outputs' (several, by name)")
        return self


class MergeSpec(JobKeys):
    """A merge: it makes the stage `merge_KEY`."""

    of: str | None = Field(default=None, description="STAGE or STAGE.OUTPUT to merge; default: this key.")
    output: str = Field(
        description="File name of the merged file, a template; {subrun} is the first subrun inside."
    )
    target_size: Size = Field(
        default=2 * 2**30, description="A merged file is closed before it exceeds this."
    )
    method: Literal["hadd", "command"] = Field(default="hadd", description="hadd, or your own `script`.")
    script: str | None = Field(
        default=None, description="With `method: command`: called as SCRIPT OUTPUT INPUT..."
    )
    files: tuple[Text, ...] = Field(default=(), description="Files sent along with the script.")
    tree: str | None = Field(
        default=None, description="TTree that the merged file must have; default: the same as its inputs."
    )
    checks: Checks = Field(default_factory=dict, description="Base checks switched on or off for this merge.")

    @model_validator(mode="after")
    def _script_for_command(self) -> Self:
        if self.method == "command" and self.script is None:
            raise ValueError("'method: command' needs the key 'script'")
        if self.method == "hadd" and (self.script is not None or self.files):
            raise ValueError("'script' and 'files' go with 'method: command' only")
        return self


class CampaignSpec(SpecModel):
    """One campaign: its stages, what they make, and what they ask of the pool."""

    version: Literal[1] = Field(description="Version of this format: 1.")
    experiment: Name | None = Field(default=None, description="Must agree with the folder's name.")
    campaign: Name | None = Field(default=None, description="Must agree with the file's name.")
    description: str = Field(
        default="", max_length=2000, description="One sentence for the people who look at it."
    )
    owner: Name | None = Field(
        default=None, description="{owner} of file names, and the DAG's owner; default: the experiment."
    )
    phase: Literal["commissioning", "production"] = Field(
        default="commissioning", description="production once it runs smoothly."
    )
    tags: tuple[Label, ...] = Field(default=(), description="Tags of the DAG.")
    schedule: Annotated[str, AfterValidator(_schedule)] | None = Field(
        default=None, description="Cron expression or preset such as @daily; null: by hand."
    )
    group: Name | None = Field(default=None, description="jobsub group; default: the experiment.")
    role: Label | None = Field(default=None, description="jobsub role, such as Production.")
    runs: RunsSpec = Field(description="Run numbers that the campaign may use; no other may share them.")
    slices: int = Field(
        default=1, ge=1, le=MAX_SLICES, description="Slices of one dag_run: one run number each."
    )
    subruns: int = Field(
        ge=1, le=MAX_SUBRUNS, description="Subruns of one slice: one job each in every stage."
    )
    first_subrun: int = Field(default=0, ge=0, le=99_999, description="Number of a slice's first subrun.")
    variables: dict[Word, Variable] = Field(
        default_factory=dict, description="Template variables of your own."
    )
    storage: StorageSpec = Field(default=StorageSpec(), description="Where files go.")
    defaults: StageDefaults = Field(
        default=StageDefaults(), description="Values for the keys that stages and merges leave out."
    )
    stages: dict[StageName, StageSpec] = Field(
        min_length=1, max_length=100, description="Stage name → stage."
    )
    merge: dict[StageName, MergeSpec] = Field(
        default_factory=dict, max_length=100, description="Stage to merge → how."
    )
    checks: Checks = Field(default_factory=dict, description="Base checks switched on or off for all stages.")
    cleanup: CleanupSpec | None = Field(default=None, description="What runs once a slice is merged.")
