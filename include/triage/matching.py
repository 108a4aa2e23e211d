"""Which rule decides about one failure: every rule that fits is a candidate, the first cause wins."""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from include.campaign.states import HoldAction
from include.triage.categories import Rank
from include.triage.conditions import BUILT_IN
from include.triage.facts import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from include.joblogs.scanner import Hit
    from include.triage.compiled import CompiledCondition, CompiledRule
    from include.triage.facts import Facts

SURVIVED_LINES = 50
"""A survivable line that lies further before the next evidence is taken for survived; so is a final line
that lies further before the log's end."""
_NOWHERE = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A rule that fits, with what made it fit."""

    rule: CompiledRule
    rank: Rank
    line: int
    """Of the log; 0 where the evidence is not a line of it."""
    given: int
    """How many keys of the alternative were asked for."""
    evidence: str
    groups: Mapping[str, str]
    told: str = ""
    """The cause as it was told before, where it was."""

    @property
    def cause(self) -> str:
        """The rule's sentence, filled in."""
        return self.told or _Filled().vformat(self.rule.rule.cause, (), self.groups)

    @property
    def order(self) -> tuple[int, int, int, int]:
        """Sorts the one that decides first."""
        return (-self.rank, self.line, -self.given, self.rule.order)


class _Filled(string.Formatter):
    """Writes `?` for what the evidence does not tell."""

    def get_value(self, key: int | str, args: object, kwargs: Mapping[str, object]) -> object:
        del args  # only names are used
        return kwargs.get(str(key)) or "?"


def candidates(rules: Iterable[CompiledRule], facts: Facts) -> list[Candidate]:
    """Return every rule that fits."""
    return [candidate for rule in rules if (candidate := _best(rule, facts)) is not None]


def decide(found: Sequence[Candidate]) -> tuple[Candidate | None, str]:
    """Return the candidate that decides, and the shadow rule that would have decided otherwise."""
    everything = in_order(found)
    acting = in_order([candidate for candidate in found if not candidate.rule.rule.shadow])
    shadow = everything[0].rule.name if everything and everything[0].rule.rule.shadow else ""
    return (acting[0] if acting else None), shadow


def hold_of(chosen: Candidate | None) -> tuple[HoldAction, int]:
    """Return what to do about the job where it is held, and after which pause in seconds."""
    if chosen is None:
        return HoldAction.PERSON, 0
    return chosen.rule.rule.hold.action, chosen.rule.rule.hold.pause


def retold(chosen: Candidate, facts: Facts) -> str:
    """Return the cause that `chosen` tells of one failure, told of another whose log was not read.

    What ad, report and verdict know is the other's own; only what the log alone told is taken over.
    """
    taken = {name: text for name, text in chosen.groups.items() if name not in BUILT_IN}
    for condition in chosen.rule.conditions:
        taken.update(_told(condition, facts) or {})
    return _Filled().vformat(chosen.rule.rule.cause, (), {**taken, **facts.values})


def in_order(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates without those that follow from another, the first cause first."""
    names = {candidate.rule.name for candidate in found}
    followed = {
        later for candidate in found for later in candidate.rule.rule.cause_of if later in names
    }  # circles are refused when the rules are read
    left = [candidate for candidate in found if candidate.rule.name not in followed]
    lines = [candidate.line for candidate in left if _decisive(candidate)]
    last = max(lines, default=_NOWHERE)
    demoted = [_demoted(candidate) if _survived(candidate, last) else candidate for candidate in left]
    return sorted(demoted, key=lambda candidate: candidate.order)


def _decisive(candidate: Candidate) -> bool:
    return (
        candidate.line != _NOWHERE and not candidate.rule.rule.survivable and candidate.rank >= Rank.SYMPTOM
    )


def _survived(candidate: Candidate, last: int) -> bool:
    return candidate.rule.rule.survivable and _NOWHERE < candidate.line < last - SURVIVED_LINES


def _demoted(candidate: Candidate) -> Candidate:
    return replace(candidate, rank=Rank.CODE)


def _best(rule: CompiledRule, facts: Facts) -> Candidate | None:
    """Return the alternative of a rule that fits, the one with the first line where several do."""
    fitting = [found for condition in rule.conditions if (found := _fit(rule, condition, facts)) is not None]
    return min(fitting, key=lambda candidate: candidate.order) if fitting else None


def _fit(rule: CompiledRule, condition: CompiledCondition, facts: Facts) -> Candidate | None:
    hit = _first(condition.log, facts) if not condition.final else _first_final(condition, facts)
    if (condition.log and hit is None) or not _log_agrees(condition, facts):
        return None
    groups = _told(condition, facts)
    if groups is None:
        return None
    if hit is not None:
        # Of a line that programs survive the last counts: the first may be long over.
        if rule.rule.survivable and not condition.final:
            hit = _last(condition.log, facts) or hit
        groups = {**groups, **_texts(dict(hit.groups))}
    return Candidate(
        rule=rule,
        rank=rule.rank if condition.speaks else Rank.CODE,
        line=hit.line if hit is not None else _NOWHERE,
        given=condition.given.given,
        evidence=_evidence(facts, hit),
        groups={**facts.values, **groups},
    )


def _log_agrees(condition: CompiledCondition, facts: Facts) -> bool:
    if condition.also and not any(name in facts.hits for name in condition.also):
        return False
    return not any(name in facts.hits for name in condition.without)


def _told(condition: CompiledCondition, facts: Facts) -> dict[str, str] | None:
    """Return the named groups if ad, report and verdict are as asked for; None if not."""
    if not (_numbers(condition, facts) and _words(condition, facts)):
        return None
    groups: dict[str, str] = {}
    for regex, text in ((condition.reason, facts.reason), (condition.verdict, facts.verdict)):
        if regex is not None:
            match = regex.search(text)
            if match is None:
                return None
            groups.update(_texts(match.groupdict()))
    return groups


def _numbers(condition: CompiledCondition, facts: Facts) -> bool:
    asked = condition.given
    if asked.exit and not _within(facts.exit_code, asked.exit):
        return False
    if asked.signal and not _within(facts.signal, asked.signal):
        return False
    if asked.hold and not any(
        code == facts.hold_code and subcode in (None, facts.hold_subcode) for code, subcode in asked.hold
    ):
        return False
    return _reaches(facts.memory_used, asked.memory_used) and _reaches(facts.time_used, asked.time_used)


def _words(condition: CompiledCondition, facts: Facts) -> bool:
    asked = condition.given
    if asked.source and not facts.sources.intersection(asked.source):
        return False
    if asked.event and not facts.events.intersection(asked.event):
        return False
    if asked.status and facts.status not in asked.status:
        return False
    return not asked.check or facts.check in asked.check


def _within(value: int | None, ranges: Sequence[tuple[int, int]]) -> bool:
    return value is not None and any(first <= value <= last for first, last in ranges)


def _reaches(share: float | None, asked: float | None) -> bool:
    return asked is None or (share is not None and share >= asked)


def _first(names: Sequence[str], facts: Facts) -> Hit | None:
    if not names or not facts.hits:
        return None
    hits = [hits[0] for name in names if (hits := facts.hits.get(name))]
    return min(hits, key=lambda hit: hit.line) if hits else None


def _first_final(condition: CompiledCondition, facts: Facts) -> Hit | None:
    """Return the first line from the last mark on, if the log ends soon after it."""
    mark = _last(condition.final, facts)
    if mark is None:
        return None
    hits = [hit for name in condition.log for hit in facts.hits.get(name, ()) if hit.line >= mark.line]
    first = min(hits, key=lambda hit: hit.line, default=None)
    return first if first is not None and first.line >= facts.end - SURVIVED_LINES else None


def _last(names: Sequence[str], facts: Facts) -> Hit | None:
    hits = [hits[-1] for name in names if (hits := facts.hits.get(name))]
    return max(hits, key=lambda hit: hit.line) if hits else None


def _texts(groups: Mapping[str, str | None]) -> dict[str, str]:
    return {name: clean(text, 200) for name, text in groups.items() if text}


def _evidence(facts: Facts, hit: Hit | None) -> str:
    """Return where it is written, and what."""
    job = f" of {facts.values['job']}" if "job" in facts.values else ""
    if hit is not None:
        return f"{facts.log}:{hit.line}: {clean(hit.text)}"
    if facts.status == "held":
        return clean(f"HoldReasonCode={facts.hold_code}/{facts.hold_subcode}{job}: {facts.reason}", 400)
    if facts.status == "removed":
        return clean(f"RemoveReason{job}: {facts.reason}", 400)
    if facts.evidence:
        return clean(facts.evidence, 500)
    if facts.exit_signal is not None:
        return f"ExitSignal={facts.exit_signal}{job}"
    return f"ExitCode={facts.exit_code}{job}" if facts.exit_code is not None else clean(facts.verdict, 400)
