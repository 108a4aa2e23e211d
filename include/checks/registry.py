"""Every check prodsys knows, in the order in which they run; docs/checks.md documents each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from include.checks.integrity import CHECKSUM, HDF5, ROOT, judge_checksum, judge_hdf5, judge_root
from include.checks.logs import MANIFEST, STATUS, judge_manifest, judge_status
from include.checks.outputs import OUTPUTS, SIZE, judge_outputs, judge_size
from include.checks.reported import NAME as EXIT
from include.checks.reported import judge_exit
from include.checks.usage import USAGE, judge_usage
from include.errors import ProdsysError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from include.campaign.plan import StagePlan
    from include.checks.case import Case
    from include.checks.verdict import Verdict


class Cost(IntEnum):
    """What a check takes for one job."""

    FREE = 0
    """Nothing is read beyond the ad and the report; the end of a log where the job failed."""
    LOOK = 1
    """A file's size is asked for."""
    OPEN = 2
    """Parts of a file are read."""
    READ = 3
    """Every byte of a file, or of a log, is read."""


class Family(StrEnum):
    """Whose word a check goes by."""

    REPORTED = "reported"
    """The job's own."""
    POST_HOC = "post hoc"
    """What is found afterwards, from outside."""
    INTEGRITY = "integrity"
    """The data itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One check."""

    name: str
    family: Family
    cost: Cost
    judge: Callable[[Case], Verdict] | None = None
    """None: it looks at all jobs of a submission at once, by `judge_all`."""
    judge_all: Callable[..., Mapping[int, Verdict]] | None = None
    always: bool = False
    """Whether it runs even where the spec switches it off."""

    @property
    def summary(self) -> str:
        """The sentence that is true of what passes."""
        return ((self.judge or self.judge_all).__doc__ or "").partition("\n")[0]


CHECKS: tuple[Check, ...] = (
    Check(name=EXIT, family=Family.REPORTED, cost=Cost.FREE, judge=judge_exit),
    # An output that nobody saw cannot be accepted, whatever the spec says.
    Check(
        name=OUTPUTS,
        family=Family.POST_HOC,
        cost=Cost.LOOK,
        judge=judge_outputs,
        always=True,
    ),
    Check(name=SIZE, family=Family.INTEGRITY, cost=Cost.LOOK, judge=judge_size),
    Check(name=CHECKSUM, family=Family.INTEGRITY, cost=Cost.READ, judge=judge_checksum),
    Check(name=ROOT, family=Family.INTEGRITY, cost=Cost.OPEN, judge=judge_root),
    Check(name=HDF5, family=Family.INTEGRITY, cost=Cost.OPEN, judge=judge_hdf5),
    Check(name=MANIFEST, family=Family.INTEGRITY, cost=Cost.READ, judge=judge_manifest),
    Check(name=STATUS, family=Family.REPORTED, cost=Cost.READ, judge=judge_status),
    Check(name=USAGE, family=Family.POST_HOC, cost=Cost.FREE, judge_all=judge_usage),
)


def checks_of(stage: StagePlan) -> tuple[Check, ...]:
    """Return the checks that are on for a stage, in the order in which they run."""
    unknown = set(stage.checks) - {check.name for check in CHECKS}
    if unknown:
        known = ", ".join(check.name for check in CHECKS)
        wrong = ", ".join(sorted(unknown))
        msg = f"stage {stage.name} asks for checks that do not exist: {wrong}; there are {known}"
        raise ProdsysError(msg)
    return tuple(check for check in CHECKS if check.always or check.name in stage.checks)
