"""A judgement in numbers and in words for the task's log."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.campaign.states import JobStatus, SubrunState
from include.checks.usage import USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.campaign.plan import StagePlan
    from include.checks.judge import Judgement, UnitJudgement

CAUSES_SHOWN = 8
NOTES_SHOWN = 5
MAX_LINE = 300
"""Characters."""
_ROUNDING = 1e-9

_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"^not ended|no ad, no|neither queue",
        "wait, then clear check; jobs that never end need a look at the schedd",
    ),
    (r"not there yet|on the outstage yet|anything yet", "wait, then clear check: storage may lag"),
    (r"the area is not there|^file cannot be read", "see that the storage is mounted, then clear check"),
    (
        r"node is not fit|exit code 85 ",
        "the node lacks what the stage's `node:` asks for: a recovery makes it elsewhere",
    ),
    (
        r"held with code 34/102|exit code (4|68|137) |signal 9 ",
        "it ran out of memory: raise `memory:` of the stage",
    ),
    (r"held with code 34/104|exit code 153 |signal 25 ", "it ran out of disk: raise `disk:` of the stage"),
    (
        r"held with code (46|47)/|exit code (124|143|152) |signal (15|24) ",
        "it ran out of time: raise `lifetime:`",
    ),
    (
        r"held with code 13/|inputs could not be read|exit code (20|21|22|24|81) ",
        "check its input files and storage",
    ),
    (r"held with code 12/|outstage failed|exit code 83 ", "check space and rights of the outstage area"),
    (r"held", "read the hold reason, and mend what it names before a release"),
    (
        r"removed",
        "somebody or a policy removed it for good; if that was not meant, a new dag_run makes new runs",
    ),
    (
        r"exit code (126|127|132|135|18|19) |signal (4|7) ",
        "suspect the node: see whether failures share a host",
    ),
    (
        r"exit code|signal",
        "read the log at the evidence; mend the script before the next dag_run",
    ),
    (r"tree missing|wrong file name|output missing", "compare the script's outputs with the spec"),
    (r"wrong number of (entries|events)", "compare `events:` in the spec with what the script writes"),
    (
        r"sum of the inputs' events",
        "turn on the check `root` for the stage that is merged, or let its script fill PRODSYS_EVENTS_FILE",
    ),
    (
        r"wrong (size|sha256|adler32)|empty file|not a ROOT|ROOT file",
        "the file is damaged and stays rejected: see whether the storage or the script damages files",
    ),
    (
        r"wrong (run|subrun)|subruns ",
        "the script numbers its events wrongly: it must use PRODSYS_RUN and PRODSYS_SUBRUN",
    ),
    (
        r"overlaps|another execution",
        "files of different submissions cover the same subruns: ask before going on",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """How a stage of one slice stands after a check; counts are subruns."""

    expected: int
    accepted: int
    missing: int
    unknown: int
    held: int
    """Of those unknown: their job is held now, and waits for somebody to release or remove it."""
    duplicates: int
    """Output files."""
    threshold: float
    """0..1."""
    threshold_met: bool
    good: bool
    """Whether the next stage may start: the threshold is met and nothing is unknown."""
    lines: tuple[str, ...]
    """The story for the task's log."""


def summarise(
    judgement: Judgement, stage: StagePlan, *, expected: int | None = None, accepted_elsewhere: int = 0
) -> StageResult:
    """Count a judgement and tell its story.

    For a recovery, which has only some of the stage's subruns, give `expected`, all of the stage's, and
    `accepted_elsewhere`, those accepted by other submissions and not among this one's units.
    """
    count = {state: _subruns(judgement, state) for state in SubrunState}
    total = sum(count.values()) if expected is None else expected
    accepted = count[SubrunState.ACCEPTED] + accepted_elsewhere
    met = accepted + _ROUNDING >= stage.success_threshold * total
    unknown = count[SubrunState.UNKNOWN]
    result = StageResult(
        expected=total,
        accepted=accepted,
        missing=count[SubrunState.MISSING],
        unknown=unknown,
        held=sum(unit.subruns for unit in judgement.units if unit.held),
        duplicates=len(judgement.duplicates),
        threshold=stage.success_threshold,
        threshold_met=met,
        good=met and unknown == 0,
        lines=(),
    )
    lines = (*_headline(judgement, stage, result), *_causes(judgement), *_notes(judgement))
    return replace(
        result, lines=tuple(line if len(line) <= MAX_LINE else line[:MAX_LINE] + "…" for line in lines)
    )


def _subruns(judgement: Judgement, state: SubrunState) -> int:
    return sum(unit.subruns for unit in judgement.units if unit.state is state)


def _headline(judgement: Judgement, stage: StagePlan, result: StageResult) -> list[str]:
    share = 100 * result.accepted / result.expected if result.expected else 100.0
    where = f"{stage.name}, run {judgement.run}"
    unknown = f"{result.unknown} unknown" + (f" ({result.held} of them held)" if result.held else "")
    others = f"{unknown}, {result.duplicates} duplicate outputs"
    reported = f"{len(judgement.executions)} executions reported"
    counted = f"{result.accepted} of {result.expected} subruns accepted ({share:.1f} %)"
    lines = [
        f"{where}: {counted}; {result.missing} missing, {others}",
        f"jobs known: {len(judgement.jobs)} ({_states(judgement)}); {reported}",
    ]
    threshold = f"{100 * result.threshold:g} %"
    if result.good:
        lines.append(f"good: the threshold of {threshold} is met and nothing is unknown; nothing to do")
    elif result.unknown:
        met = "the threshold of {} is met, but" if result.threshold_met else "below the threshold of {}, and"
        lines.append(
            f"not good yet: {met.format(threshold)} {result.unknown} subruns are unknown: "
            "their jobs may still produce their outputs"
        )
    else:
        lines.append(
            f"not good: below the threshold of {threshold}; mend the cause; this slice stays as it is, "
            "a new dag_run makes new runs"
        )
    return [*lines, *_to_do(judgement, result)]


def _to_do(judgement: Judgement, result: StageResult) -> list[str]:
    """Return what a person can do about what is held and unknown."""
    lines = []
    held = next((unit.job_id for unit in judgement.units if unit.held), None)
    if held is not None:
        job, _, schedd = held.partition("@")
        release = f"condor_release -name {schedd} {job}, or jobsub_release -J {held}"
        remove = f"condor_rm -name {schedd} {job}, or jobsub_rm -J {held}"
        lines += [
            f"{result.held} held subruns block the stage until somebody acts, job {held} first:",
            f"    release it ({release}), then clear wait and check;",
            f"    or remove it ({remove}), then clear check",
        ]
    if result.unknown > result.held:
        lines.append(f"{result.unknown - result.held} unknown subruns: clear check later to look again")
    return lines


def _states(judgement: Judgement) -> str:
    counted = {status: sum(job.status is status for job in judgement.jobs) for status in JobStatus}
    named = [f"{count} {status.name.lower().replace('_', ' ')}" for status, count in counted.items() if count]
    return ", ".join(named) or "no ad"


def cause_of(unit: UnitJudgement) -> str:
    """Return what a unit that is not accepted has in common with others: its reason up to the first colon.

    Process numbers and times are left out; codes stay, because they tell causes apart.
    """
    verdict = unit.verdicts[-1]
    cause = verdict.reason.partition(": ")[0].partition(" (")[0]
    return f"{verdict.check}: {re.sub(r'process [0-9]+ .*', 'it', cause)}"


def _causes(judgement: Judgement) -> list[str]:
    grouped: dict[str, list[UnitJudgement]] = {}
    for unit in judgement.units:
        if unit.state is not SubrunState.ACCEPTED:
            grouped.setdefault(cause_of(unit), []).append(unit)
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    lines = [line for cause, units in ordered[:CAUSES_SHOWN] for line in _cause(cause, units)]
    if len(ordered) > CAUSES_SHOWN:
        rest = sum(len(units) for _, units in ordered[CAUSES_SHOWN:])
        lines.append(
            f"and {len(ordered) - CAUSES_SHOWN} rarer causes with {rest} jobs; the ledger has each verdict"
        )
    return lines


def _cause(cause: str, units: Sequence[UnitJudgement]) -> list[str]:
    example = units[0]
    verdict = example.verdicts[-1]
    span = f"subrun {example.first_subrun}"
    if example.last_subrun != example.first_subrun:
        span = f"subruns {example.first_subrun}..{example.last_subrun}"
    lines = [
        f"{len(units)} x {cause}",
        f"    example: job {example.job_id or 'not known'}, {span}: {verdict.reason}",
        f"    evidence: {verdict.evidence}",
    ]
    advice = next((text for pattern, text in _ADVICE if re.search(pattern, f"{verdict.reason} ")), None)
    return [*lines, f"    to do: {advice}"] if advice else lines


def _notes(judgement: Judgement) -> list[str]:
    again = [unit for unit in judgement.units if unit.state is SubrunState.ACCEPTED and _remark(unit)]
    lines = [f"note: {_remark(unit)}" for unit in again[:NOTES_SHOWN]]
    if len(again) > NOTES_SHOWN:
        lines.append(f"note: {len(again) - NOTES_SHOWN} more accepted jobs have odd evidence, see the ledger")
    lines += [f"note: {note}" for note in judgement.notes[:NOTES_SHOWN]]
    if len(judgement.notes) > NOTES_SHOWN:
        lines.append(f"note: and {len(judgement.notes) - NOTES_SHOWN} more of the kind")
    return lines


def _remark(unit: UnitJudgement) -> str:
    """Return what is odd about an accepted unit: a conflict in its evidence, or what it took; else empty."""
    return next((item.reason for item in unit.verdicts if item.check in ("exit", USAGE) and item.reason), "")
