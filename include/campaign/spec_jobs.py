"""The keys that `defaults`, stages and merges share: what a job asks for, and what is done once it fails."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator

from include.campaign.spec_types import (
    Duration,
    Entry,
    EnvironmentName,
    JobsubOptions,
    Limit,
    LogText,
    NumberOrAny,
    Repository,
    Size,
    SpecModel,
    Text,
    Word,
)
from include.campaign.wording import shown

Factor = Annotated[float, Field(gt=1, le=1000)]


class RecoverySpec(SpecModel):
    """What may be done by itself about a stage that is below its threshold."""

    attempts: Annotated[int, Field(ge=0, le=10)] | None = Field(
        default=None, description="Recoveries that are made without asking anybody."
    )
    then: Literal["ask", "fail"] | None = Field(
        default=None, description="Once none is left, or none would help: ask a person, or fail the task."
    )
    max_memory: Size | None = Field(default=None, description="Most memory that a recovery may ask for.")
    max_disk: Size | None = Field(default=None, description="Most scratch space that a recovery may ask for.")
    max_lifetime: Duration | None = Field(
        default=None, description="Longest lifetime that a recovery may ask for."
    )
    releases: Annotated[int, Field(ge=0, le=20)] | None = Field(
        default=None, description="How often one held job may be released by itself."
    )


class NodeSpec(SpecModel):
    """What a job requires of its node before it begins."""

    cvmfs: dict[Repository, NumberOrAny] | None = Field(
        default=None, description="CVMFS repository → lowest revision; any: mounted and readable."
    )
    scratch: Size | None = Field(default=None, description="Free scratch space; null: not looked at.")
    guard: Duration | None = Field(
        default=None, description="A job that leaves an unfit node takes at least so long."
    )


class CheckSpec(SpecModel):
    """A check: `NAME: true` or `NAME: false` switch one, `NAME: {…}` tunes one or brings one of your own."""

    on: bool | None = Field(default=None, description="The same as NAME: true, NAME: false.")
    script: str | None = Field(
        default=None, description="Your own check: an executable, relative to the campaign file's folder."
    )
    entry: Entry | None = Field(
        default=None, description="Your own check: a Python function, package.module:function."
    )
    scope: Literal["job", "stage", "campaign"] | None = Field(
        default=None, description="Run for each job, once a stage of a slice, or once a dag_run."
    )
    timeout: Duration | None = Field(default=None, description="Your own check may take so long.")
    arguments: tuple[Text, ...] | None = Field(default=None, description="Arguments, templates.")
    wall_factor: Factor | None = Field(
        default=None, description="With `usage`: times the median run time that are worth a note."
    )
    memory_factor: Factor | None = Field(
        default=None, description="With `usage`: times the median memory that are worth a note."
    )
    success: LogText | None = Field(
        default=None,
        description="With `status`: text of the log line by which a script says that all went well.",
    )

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, bool):
            return {"on": value}
        if value is not None and not isinstance(value, dict | cls):
            raise ValueError(f"must be true, false or a mapping of its settings, not {shown(value)}")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.script is not None and self.entry is not None:
            raise ValueError("give either 'script' or 'entry'")
        return self

    @property
    def is_own(self) -> bool:
        """Whether it brings a check of one's own."""
        return self.script is not None or self.entry is not None

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "boolean"}, handler(core_schema)]}


Checks = dict[Word, CheckSpec]


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
    launcher: str | None = Field(
        default=None,
        description="Your own program that calls jobsub_submit; null: prodsys calls it (docs/launchers.md).",
    )
    launcher_arguments: tuple[Text, ...] | None = Field(
        default=None, description="Arguments of the launcher, templates; {run} and {jobs} too."
    )
    environment: dict[EnvironmentName, Text] = Field(
        default_factory=dict, description="Environment variables for the script; added to the defaults'."
    )
    recovery: RecoverySpec = Field(
        default=RecoverySpec(), description="What may be done by itself about what fails."
    )
    node: NodeSpec = Field(default=NodeSpec(), description="What a job requires of its node.")
    hold_pause: Limit | None = Field(
        default=None, description="A job must have been held for so long before anything is done about it."
    )
