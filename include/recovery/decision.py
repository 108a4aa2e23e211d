"""What to do about a stage that was judged: nothing, a recovery, or ask a person. Pure; docs/recovery.md."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from include.bookkeeping.records import AS_PLANNED, RequestChanges
from include.campaign.states import Remedy
from include.triage.categories import UNCLASSIFIED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from include.bookkeeping.records import DiagnosisRecord
    from include.campaign.plan import StagePlan
    from include.recovery.standing import Standing

GROWTH = 1.5
"""A recovery asks for so much more of what ran out."""
HEADROOM = 1.25
"""And for at least so much more than the jobs were seen to use."""
MOST_PLACES = 0.5
"""A recovery never keeps off more than this fraction of the nodes, or sites, that are known."""
LISTABLE = re.compile(r"[A-Za-z0-9._-]+")
"""A node or site that HTCondor's lists can hold; one with a blank, say, cannot be kept off."""
FINAL = frozenset({Remedy.NONE, Remedy.PERSON})


class Act(StrEnum):
    """What comes next for a stage."""

    NOTHING = "nothing"
    """It is good as it is."""
    RECOVER = "recover"
    """Submit the subruns that can be recovered."""
    ASK = "ask"
    """A person must decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, and why."""

    act: Act
    why: str
    """One sentence with the numbers."""
    subruns: tuple[int, ...] = ()
    """To be recovered, in order."""
    changes: RequestChanges = AS_PLANNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What a decision needs to know beside the standing."""

    diagnoses: Mapping[int, Sequence[DiagnosisRecord]]
    """Subrun → its diagnoses, one a submission that covered it, oldest first."""
    last: RequestChanges
    """Of the latest recovery."""
    used_memory_mb: int | None = None
    """Most that a job of the stage was seen to use, 2**20 bytes."""
    nodes: int = 0
    """Nodes that jobs of the stage, or lately any job, have run on."""
    sites: int = 0
    """Sites likewise."""


def decide(standing: Standing, stage: StagePlan, past: Past, *, forced: bool = False) -> Decision:
    """Decide; nothing may be unsent, nor, unless `forced`, a subrun be unknown other than for a held job.

    `forced`: a person wants one more recovery, of all that is missing or of which nobody knows, whatever the
    causes and the attempts. What turns up of it later is a duplicate.
    """
    done, number = len(standing.accepted), standing.recoveries + 1
    numbers = (
        f"{done} of {standing.expected} subruns accepted ({_share(done, standing.expected)}), "
        f"the threshold is {100 * standing.threshold:g} %"
    )
    left = number <= stage.recovery.attempts
    everything = tuple(sorted(standing.missing | standing.fresh | (standing.unknown - standing.held)))
    forced = forced and bool(everything)
    # Inputs that came late were never tried: they are worth an attempt at any rate of success.
    if standing.good and not forced and not (standing.fresh and left):
        return Decision(act=Act.NOTHING, why=f"nothing needs doing: {numbers}{_rest(standing)}")
    remedies = {subrun: remedy_of(past.diagnoses.get(subrun, ())) for subrun in standing.missing}
    changes, spent = _changes(stage, past, remedies)
    if forced:
        why = f"recovery {number}, asked for by a person, for {len(everything)} subruns; {numbers}"
        return Decision(act=Act.RECOVER, why=why, subruns=everything, changes=changes)
    if standing.unknown and not standing.good:
        held = f"{len(standing.unknown)} subruns are open because their jobs are held"
        return Decision(act=Act.ASK, why=f"{held}; {numbers}")
    wanted = {subrun for subrun, remedy in remedies.items() if remedy not in FINAL | spent} | standing.fresh
    if not standing.enough(done + len(wanted)):
        others = f"; the {len(wanted)} others would not reach the threshold" if wanted else ""
        return Decision(act=Act.ASK, why=f"{_hopeless(stage, past, remedies, spent)}{others}; {numbers}")
    allowed = stage.recovery.attempts
    if not left:
        return Decision(act=Act.ASK, why=f"all {allowed} recoveries are spent; {numbers}")
    return Decision(
        act=Act.RECOVER,
        why=f"recovery {number} of {allowed} for {len(wanted)} subruns; {numbers}",
        subruns=tuple(sorted(wanted)),
        changes=changes,
    )


def remedy_of(diagnoses: Sequence[DiagnosisRecord]) -> Remedy:
    """Return what may help a subrun; what failed twice in the same unexplained way would fail again."""
    if not diagnoses:
        return Remedy.SAME
    last = diagnoses[-1]
    if len(diagnoses) > 1 and last.remedy is Remedy.SAME:
        before = diagnoses[-2]
        if last.category == UNCLASSIFIED and (before.category, before.signature) == (
            last.category,
            last.signature,
        ):
            return Remedy.NONE
    return last.remedy


def _rest(standing: Standing) -> str:
    """Say what is left as it is."""
    others = len(standing.missing) + len(standing.fresh)
    parts = [f"the {others} others stay as they are"] if others else []
    if standing.held:
        parts.append(
            f"{len(standing.held)} jobs stay held until somebody releases or removes them; an output that "
            "comes late is accepted when the check is cleared"
        )
    return "".join(f"; {part}" for part in parts)


def _changes(
    stage: StagePlan, past: Past, remedies: Mapping[int, Remedy]
) -> tuple[RequestChanges, frozenset[Remedy]]:
    """Return what the recovery asks for, and the remedies that the spec's caps leave no room for."""
    wanted, last, rule, asked = set(remedies.values()), past.last, stage.recovery, stage.resources
    spent: set[Remedy] = set()

    def more(remedy: Remedy, now: int | None, own: int, cap: int | None, used: float = 0) -> int | None:
        if remedy not in wanted:
            return now
        have = own if now is None else now
        most = 2 * own if cap is None else cap
        raised = min(most, max(round(have * GROWTH), round(used * HEADROOM)))
        if raised <= max(have, used):
            spent.add(remedy)
            return now
        return raised

    memory = more(
        Remedy.MORE_MEMORY, last.memory_mb, asked.memory_mb, rule.max_memory_mb, past.used_memory_mb or 0
    )
    disk = more(Remedy.MORE_DISK, last.disk_kb, asked.disk_kb, rule.max_disk_kb)
    lifetime = more(Remedy.MORE_TIME, last.lifetime_s, asked.lifetime_s, rule.max_lifetime_s)
    changes = RequestChanges(
        memory_mb=memory,
        disk_kb=disk,
        lifetime_s=lifetime,
        machines=_worst(past, remedies, Remedy.OTHER_NODE),
        sites=_worst(past, remedies, Remedy.OTHER_SITE),
    )
    return changes, frozenset(spent)


def _worst(past: Past, remedies: Mapping[int, Remedy], remedy: Remedy) -> tuple[str, ...]:
    """Return the nodes (or sites) to keep off: the latest failures' with this remedy, then earlier ones."""
    is_node = remedy is Remedy.OTHER_NODE
    counts: Counter[str] = Counter()
    for subrun, wanted in remedies.items():
        if wanted is remedy and past.diagnoses.get(subrun):
            last = past.diagnoses[subrun][-1]
            where = last.host if is_node else last.site
            if where and LISTABLE.fullmatch(where):
                counts[where] += 1
    earlier = past.last.machines if is_node else past.last.sites
    worst = [name for name, _ in counts.most_common()]
    worst += [name for name in earlier if name not in counts]
    most = int((past.nodes if is_node else past.sites) * MOST_PLACES)
    return tuple(sorted(worst[:most]))


def _hopeless(stage: StagePlan, past: Past, remedies: Mapping[int, Remedy], spent: Iterable[Remedy]) -> str:
    """Say why no recovery by itself helps, and what would."""
    counts = Counter(remedies.values())
    last, asked = past.last, stage.resources
    had = {
        Remedy.MORE_MEMORY: f"{last.memory_mb or asked.memory_mb} MB of memory",
        Remedy.MORE_DISK: f"{last.disk_kb or asked.disk_kb} KB of disk",
        Remedy.MORE_TIME: f"{last.lifetime_s or asked.lifetime_s} s of lifetime",
    }
    parts = [
        f"{counts[remedy]} subruns need more than {had[remedy]}, which is at the cap ({remedy.value}): "
        "'Recover again' asks for that once more, and another cap in the spec counts for new dag_runs"
        for remedy in sorted(spent)
    ]
    if counts[Remedy.PERSON]:
        parts.append(
            f"{counts[Remedy.PERSON]} subruns wait for a person: do what is named below, then recover again"
        )
    twice = {
        subrun
        for subrun, remedy in remedies.items()
        if remedy is Remedy.NONE and past.diagnoses[subrun][-1].remedy is not Remedy.NONE
    }
    if twice:
        parts.append(f"{len(twice)} subruns failed twice in the same way, which no rule explains")
    if final := counts[Remedy.NONE] - len(twice):
        parts.append(f"{final} subruns failed for causes that submitting again does not cure")
    return f"no recovery by itself mends it: {'; '.join(parts)}"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "100 %"


def in_words(changes: RequestChanges) -> str:
    """Return what a recovery asks for in place of the plan's."""
    parts = [
        f"{value} {unit} of {what}"
        for value, unit, what in (
            (changes.memory_mb, "MB", "memory"),
            (changes.disk_kb, "KB", "disk"),
            (changes.lifetime_s, "s", "lifetime"),
        )
        if value is not None
    ]
    parts += [f"away from {', '.join(names)}" for names in (changes.machines, changes.sites) if names]
    return "asks for " + "; ".join(parts) if parts else "asks for the same as before"
