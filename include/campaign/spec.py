"""The spec: a campaign file as its liaison writes it. Every key is described here and in docs/spec.md.

The reader hands in mappings, tuples and plain values; the models are strict and convert nothing silently.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator

from include.campaign.spec_jobs import Checks, JobKeys
from include.campaign.spec_types import (
    Keep,
    Label,
    Name,
    NumberOrAny,
    Schedule,
    Size,
    SpecModel,
    StageName,
    Text,
    Variable,
    Word,
)

BASE_CHECKS = ("exit", "outputs", "size", "checksum", "root", "hdf5", "manifest", "status", "usage")
"""The checks that prodsys has, in the order in which they run."""

MAX_SUBRUNS = 10_000
"""Jobs in one cluster: more than that blocks a schedd for others."""
MAX_SLICES = 1000
"""Airflow maps at most 1024 slices in one dag_run."""

SPEC_KEYS_THAT_MAY_BE_NULL = frozenset({"schedule", "role", "tree", "scratch", "launcher"})


class RunsSpec(SpecModel):
    """Run numbers that the campaign may use."""

    first: int = Field(ge=1, le=999_999_999, description="First run number.")
    last: int = Field(ge=1, le=999_999_999, description="Last run number, included.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"the last run, {self.last}, is before the first, {self.first}")
        return self


class LimitsSpec(SpecModel):
    """The most that the campaign has in flight at a time, over all its dag_runs."""

    slices_in_flight: int | None = Field(
        default=None, ge=1, le=MAX_SLICES, description="Slices that have begun and are not cleaned up."
    )
    jobs_in_flight: int | None = Field(
        default=None, ge=1, le=10_000_000, description="Jobs that wait or run; at least `subruns`."
    )


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
    tree: str | None = Field(default=None, description="TTree or HDF5 table that must be there; null: none.")
    events: NumberOrAny | None = Field(
        default=None, description="Events a subrun must hold; default: the stage's; any: at least one."
    )
    keep: Keep | None = Field(
        default=None, description="until-merged: may be removed once all made from it is merged and verified."
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
    tree: str | None = Field(default=None, description="TTree or HDF5 table that the outputs must have.")
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
    checks: Checks = Field(
        default_factory=dict, description="Checks switched, tuned or added for this stage."
    )

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
    checks: Checks = Field(
        default_factory=dict, description="Checks switched, tuned or added for this merge."
    )

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
    schedule: Schedule | None = Field(
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
    limits: LimitsSpec = Field(
        default=LimitsSpec(), description="The most that the campaign has in flight at a time."
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
    checks: Checks = Field(
        default_factory=dict, description="Checks switched, tuned or added for all stages."
    )
    cleanup: CleanupSpec | None = Field(default=None, description="What runs once a slice is merged.")
