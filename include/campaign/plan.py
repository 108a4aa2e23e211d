"""The plan: a campaign with everything resolved, as the DAG, the operators and the worker need it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, is_dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin, get_type_hints

from include.errors import PlanError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CheckSettings = tuple[tuple[str, tuple[tuple[str, float | str], ...]], ...]
"""(check, its settings), each setting a number or a text."""

PLAN_VERSION = 1
"""Raise it, and add to `_UPGRADES`, when a stored plan would be read wrongly: a key renamed, removed or of
another meaning. A new field needs no new version if it has a default that is true of older plans."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcesPlan:
    """What one job of a stage asks of its slot."""

    memory_mb: int
    """Megabytes of 2**20 bytes."""
    disk_kb: int
    """Kilobytes of 2**10 bytes."""
    cpus: int
    lifetime_s: int
    """Longest wall time, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPlan:
    """Where one named input of a stage comes from: a parent stage, or a file list."""

    name: str
    stage: str | None
    """The parent stage; None where `files` is given."""
    output: str | None
    """The parent's output name; None where `files` is given."""
    select: Literal["same", "all"]
    """`same`: the files of the job's own subruns; `all`: every accepted file of the parent in this slice."""
    files: tuple[str, ...]
    """Files of a list, in order; empty where `stage` is given."""
    per_job: int
    """With `files`: how many consecutive files a subrun takes."""
    reuse: bool = False
    """With `files`: the list wraps round at its end; else no two subruns of the campaign share a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """One kind of file that every job of a stage makes."""

    name: str
    """The key in the spec; `default` where the stage has one output."""
    file_name: str
    """Template with {run} and {subrun} left open, such as `dts.demo.z.v1.{run:06d}_{subrun:08d}.root`."""
    tree: str | None
    """The TTree that must be there; None for files that are not ROOT."""
    events: int | None
    """Events a subrun must hold, counted in the tree, else as the job reports them; None: at least one."""
    keep: Literal["forever", "until-merged"]
    """`until-merged`: cleanup may remove it once all that was made from it is merged and verified."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MergePlan:
    """How a merge stage builds its files."""

    of_stage: str
    of_output: str
    target_bytes: int
    """A group is closed before it would exceed this, unless one subrun alone does."""
    method: Literal["hadd", "command"]
    """`command`: the stage's script is called as `script OUTPUT INPUT...`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCheckPlan:
    """An experiment's own check; docs/user-checks.md has its contract."""

    name: str
    scope: Literal["job", "stage", "campaign"]
    """Run once for each job that passed the base checks, once a stage of a slice, or once a tranche."""
    script: str
    """Absolute path of an executable; empty where `entry` is given."""
    entry: str
    """`package.module:function`; empty where `script` is given."""
    arguments: tuple[str, ...]
    """Templates with {run}, {subrun} and {process} left open."""
    timeout_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryPlan:
    """What may be done by itself about a stage that is below its threshold."""

    attempts: int = 2
    """Recoveries that are made without asking anybody."""
    then: Literal["ask", "fail"] = "ask"
    """Once they are spent, or none would help: ask a person in the Airflow UI, or fail the task."""
    max_memory_mb: int | None = None
    """Most that a recovery may ask for, 2**20 bytes; None: twice the stage's own; so for the next two."""
    max_disk_kb: int | None = None
    max_lifetime_s: int | None = None
    releases: int = 2
    """How often one held job may be released by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlan:
    """What a job requires of its node before it begins; it leaves an unfit one after the guard's time."""

    cvmfs: tuple[tuple[str, int], ...]
    """(repository, lowest revision); 0: any, but it must be mounted and readable."""
    scratch_mb: int | None
    """Free scratch space, 2**20 bytes; None: not looked at."""
    guard_s: int
    """A job that leaves an unfit node takes at least so long, so that the node cannot eat jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherPlan:
    """An experiment's own program that submits a stage; docs/launchers.md has its contract."""

    script: str
    """Absolute path; it is run where prodsys runs, and not sent along."""
    arguments: tuple[str, ...]
    """Templates with {run} and {jobs} left open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage, merge stages included."""

    name: str
    parents: tuple[str, ...]
    """Stages that must be good in the same slice before this one starts."""
    script: str
    """Absolute path of what the job runs; empty for `hadd` merges."""
    arguments: tuple[str, ...]
    """Templates with {run}, {subrun}, {seed}, {events} and {process} left open."""
    events: int | None = None
    """Events asked for per subrun, for {events} and PRODSYS_EVENTS; None where the spec does not say."""
    files: tuple[str, ...]
    """Absolute paths sent along with the script."""
    environment: tuple[tuple[str, str], ...]
    """Extra environment variables for the script."""
    resources: ResourcesPlan
    inputs: tuple[InputPlan, ...]
    outputs: tuple[OutputPlan, ...]
    checks: tuple[str, ...]
    """Names of the checks that are on, in order."""
    success_threshold: float
    """Fraction of subruns in 0..1 that must be accepted."""
    hold_limit_s: int
    """A job held for longer is reported as held instead of waited for, seconds."""
    unknown_limit_s: int
    """A job that neither queue nor history knows is reported as unknown after this, seconds."""
    jobsub_options: tuple[str, ...]
    """Passed to jobsub_submit as they are."""
    merge: MergePlan | None
    user_checks: tuple[UserCheckPlan, ...] = ()
    """In the order of the spec; those of scope job and stage run for this stage."""
    check_settings: CheckSettings = ()
    """(check, its settings) where the spec tunes one."""
    recovery: RecoveryPlan = RecoveryPlan()
    node: NodePlan | None = None
    hold_pause_s: int = 60
    """A job must have been held for so long before prodsys acts on the hold, seconds."""
    launcher: LauncherPlan | None = None
    """What submits; None: prodsys calls jobsub_submit."""

    @property
    def is_merge(self) -> bool:
        """Whether this stage merges another's files."""
        return self.merge is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsPlan:
    """The most that the campaign has in flight at a time, over all its dag_runs; None: no limit."""

    max_slices_in_flight: int | None = None
    max_jobs_in_flight: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignPlan:
    """One campaign, everything resolved."""

    version: int
    experiment: str
    campaign: str
    description: str
    owner: str
    phase: Literal["commissioning", "production"]
    tags: tuple[str, ...]
    schedule: str | None
    """A cron expression or Airflow preset; None: triggered by hand only."""
    group: str
    """jobsub group (`-G`)."""
    role: str | None
    first_run: int
    last_run: int
    """Run numbers are allocated from first_run..last_run, both included."""
    slices: int
    """Slices a dag_run makes unless its form says otherwise."""
    subruns: int
    """Subruns a slice has: one job each in every stage but merges."""
    first_subrun: int
    stages: tuple[StagePlan, ...]
    """In an order that respects parents; merges last."""
    outstage: str
    """Absolute path of the area that outputs are staged out to."""
    logs: str
    """Absolute path of the area that job logs and reports are copied to."""
    cleanup_script: str | None
    """Absolute path; called with the list of files that are safe to remove, see docs/cleanup.md."""
    spec_file: str
    """As given to the reader."""
    spec_sha256: str
    campaign_checks: tuple[UserCheckPlan, ...] = ()
    """Those of scope campaign."""
    limits: LimitsPlan = LimitsPlan()

    @property
    def dag_id(self) -> str:
        """`EXPERIMENT.NAME`, the DAG's id."""
        return f"{self.experiment}.{self.campaign}"

    def stage(self, name: str) -> StagePlan:
        """Return the stage called `name`; PlanError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise PlanError(
            f"{self.dag_id}: this dag_run's plan has no stage {name!r}, only "
            f"{', '.join(stage.name for stage in self.stages)}. The stages in {self.spec_file} were changed "
            "after the dag_run began, and it keeps its plan: finish it with the stages that it has, "
            "or start a new dag_run"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values; the inverse of `from_dict`."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Build a plan from `to_dict`'s result, or from its JSON, of this version or an older one.

        PlanError where the version is unknown, TypeError on an unknown or missing key.
        """
        plan: Self = _build(cls, _upgraded(data))
        return plan


_UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""Version → what makes a stored plan of that version one of the next; one for each version before ours."""


def _upgraded(data: dict[str, Any]) -> dict[str, Any]:
    """Return a stored plan as one of this version."""
    version = data.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise PlanError(f"the plan's version is {version!r}, not a number from 1 to {PLAN_VERSION}")
    if version > PLAN_VERSION:
        raise PlanError(
            f"the plan is of version {version}, and this prodsys reads versions up to {PLAN_VERSION}: "
            "finish this dag_run with the prodsys that began it, or a newer one"
        )
    for older in range(version, PLAN_VERSION):
        data = {**_UPGRADES[older](data), "version": older + 1}
    return data


def _build(kind: Any, value: Any) -> Any:
    """Rebuild `value`, made of JSON types, as `kind`: a dataclass, a tuple, an optional, a plain value."""
    if value is None:
        return None
    if get_origin(kind) is UnionType or NoneType in get_args(kind):
        kind = next(arg for arg in get_args(kind) if arg is not NoneType)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        unknown = set(value) - {field.name for field in fields(kind)}
        if unknown:
            msg = f"unknown keys {sorted(unknown)} for {kind}"
            raise TypeError(msg)
        return kind(**{key: _build(hints[key], item) for key, item in value.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        args = get_args(kind)
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(_build(item_kind, item) for item_kind, item in zip(kinds, value, strict=True))
    return value
