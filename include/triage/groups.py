"""Diagnoses brought together: what failed alike, how often, where, and an example of each kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.triage.categories import UNCLASSIFIED
from include.triage.unusual import Background, Ground, sentences

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.records import DiagnosisRecord, StageDiagnosis
    from include.campaign.states import Remedy

FIELDS = ("category", "rule", "node", "site", "stage", "exit", "run", "tag")
"""What `cross` can count by."""
UNKNOWN = "?"
LOOKED_INTO = 50
"""Groups that are searched for what is unusual, the most harmful ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Failures of one stage with one cause."""

    stage: str
    category: str
    rule: str
    """Empty for what no rule fits; then the signature tells groups apart."""
    signature: str
    cause: str
    """Of the example; in others numbers or names may differ."""
    advice: str
    remedy: Remedy
    jobs: int
    subruns: int
    exits: tuple[tuple[str, int], ...]
    """(exit code or signal, jobs), commonest first; so are the next three."""
    nodes: tuple[tuple[str, int], ...]
    sites: tuple[tuple[str, int], ...]
    runs: tuple[tuple[int, int], ...]
    shadows: tuple[tuple[str, int], ...]
    """(shadow rule that would have decided, jobs)."""
    example: StageDiagnosis
    unusual: tuple[str, ...] = ()
    """Sentences, each with its numbers, on what these failures have in common beyond chance."""


def group(diagnoses: Sequence[StageDiagnosis], *, background: Background | None = None) -> list[Group]:
    """Return the groups, the most harmful (most subruns lost) first.

    `background` tells of the jobs that did not fail; without it less can be called unusual.
    """
    members: dict[tuple[str, ...], list[StageDiagnosis]] = {}
    for item in diagnoses:
        members.setdefault(_key(item), []).append(item)
    ground = Ground(background or Background(), diagnoses)
    groups = sorted((_group(some) for some in members.values()), key=harm)
    return [
        replace(one, unusual=tuple(sentences(members[_key(one.example)], ground)))
        if place < LOOKED_INTO
        else one
        for place, one in enumerate(groups)
    ]


def harm(one: Group) -> tuple[int, int, str, str, str]:
    """Sort key: the most harmful first."""
    return (-one.subruns, -one.jobs, one.stage, one.category, one.rule)


def _key(item: StageDiagnosis) -> tuple[str, ...]:
    """Return what the members of a group have in common; those not read may have a remedy of their own."""
    record = item.diagnosis
    signature = record.signature if record.category == UNCLASSIFIED else ""
    return (item.stage, record.category, record.rule, signature, record.remedy)


def candidates_for_rules(diagnoses: Iterable[StageDiagnosis]) -> list[tuple[str, int, StageDiagnosis]]:
    """Return (signature, jobs, example) of what no rule fits, commonest first."""
    counted: Counter[str] = Counter()
    first: dict[str, StageDiagnosis] = {}
    for item in diagnoses:
        if item.diagnosis.category == UNCLASSIFIED:
            counted[item.diagnosis.signature] += 1
            first.setdefault(item.diagnosis.signature, item)
    return [(signature, jobs, first[signature]) for signature, jobs in counted.most_common()]


def cross(diagnoses: Iterable[StageDiagnosis], by: Sequence[str]) -> list[tuple[tuple[str, ...], int]]:
    """Return (values of the fields `by`, jobs), commonest first; ValueError for a field not in FIELDS."""
    wrong = [name for name in by if name not in FIELDS]
    if wrong:
        raise ValueError(f"failures cannot be counted by {wrong[0]!r}; there are {', '.join(FIELDS)}")
    counted = Counter(tuple(_field(item, name) for name in by) for item in diagnoses)
    return sorted(counted.items(), key=lambda cell: (-cell[1], cell[0]))


def ending(record: DiagnosisRecord) -> str:
    """Return how the job ended, in a word."""
    if record.exit_signal is not None:
        return f"signal {record.exit_signal}"
    return UNKNOWN if record.exit_code is None else f"exit code {record.exit_code}"


def _field(item: StageDiagnosis, name: str) -> str:
    record = item.diagnosis
    values = {
        "category": record.category, "rule": record.rule or UNCLASSIFIED, "node": record.host,
        "site": record.site, "stage": item.stage, "run": str(item.run), "tag": item.tag,
    }  # fmt: skip
    return ending(record) if name == "exit" else values[name] or UNKNOWN


def _group(some: list[StageDiagnosis]) -> Group:
    example = some[0]
    record = example.diagnosis
    records = [item.diagnosis for item in some]
    return Group(
        stage=example.stage,
        category=record.category,
        rule=record.rule,
        signature=record.signature if record.category == UNCLASSIFIED else "",
        cause=record.cause,
        advice=record.advice,
        remedy=record.remedy,
        jobs=len(some),
        subruns=sum(each.last_subrun - each.first_subrun + 1 for each in records),
        exits=_counted(ending(each) for each in records),
        nodes=_counted(each.host or UNKNOWN for each in records),
        sites=_counted(each.site or UNKNOWN for each in records),
        runs=tuple(Counter(item.run for item in some).most_common()),
        shadows=_counted(each.shadow for each in records if each.shadow),
        example=example,
    )


def _counted(values: Iterable[str]) -> tuple[tuple[str, int], ...]:
    return tuple(Counter(values).most_common())
