"""Rules made ready: each regular expression compiled, each log pattern named once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.joblogs.scanner import Pattern
from include.triage.categories import RANKS, Rank

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.triage.conditions import Condition, LogText, Rule

MARKERS = {
    "source:art-end": (
        ("Art has completed and will exit with status",),
        r"exit with status (?P<code>-?\d{1,9})",
    ),
    "source:art-seen": (("%MSG-", "---- OtherArt BEGIN", "Begin processing the ", "TrigReport "), None),
    "source:wrapper": (("mu2egrid exit status", "mu2eprodsys ", "mu2ejobsub "), None),
}
"""Log lines that tell whose exit code it is: (texts, regular expression)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledCondition:
    """One alternative of a rule."""

    given: Condition
    reason: re.Pattern[str] | None
    verdict: re.Pattern[str] | None
    log: tuple[str, ...]
    """Names of patterns; so are the next two."""
    also: tuple[str, ...]
    without: tuple[str, ...]
    final: tuple[str, ...]

    @property
    def speaks(self) -> bool:
        """Whether it goes by more than a number: then it has its rule's rank, else that of a code."""
        asked = self.given
        numbers_mean_it = asked.memory_used is not None or asked.time_used is not None or asked.hold
        return bool(self.log or self.reason or self.verdict or asked.status or asked.check or numbers_mean_it)


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledRule:
    """One rule."""

    name: str
    order: int
    """Its place among all rules."""
    rank: Rank
    rule: Rule
    conditions: tuple[CompiledCondition, ...]
    place: str
    """FILE:LINE."""

    @property
    def holds(self) -> bool:
        """Whether it is about held jobs."""
        asked = [condition.given for condition in self.conditions]
        return any(each.hold or "held" in each.status or each.reason for each in asked)

    @property
    def needs_log(self) -> bool:
        """Whether no alternative fits without a line of the log."""
        return all(condition.log or condition.also or condition.final for condition in self.conditions)


def compile_rules(
    rules: Mapping[str, tuple[Rule, str]],
) -> tuple[tuple[CompiledRule, ...], tuple[Pattern, ...]]:
    """Return the rules, given by name with their place, and the patterns that they need."""
    patterns: dict[tuple[tuple[str, ...], str | None, bool], Pattern] = {}
    for name, (texts, regex) in MARKERS.items():
        patterns[texts, regex, False] = Pattern(
            name=name, literals=texts, regex=regex or "|".join(map(re.escape, texts)), ignore_case=False
        )
    compiled = tuple(
        CompiledRule(
            name=name,
            order=order,
            rank=RANKS[rule.rank],
            rule=rule,
            conditions=tuple(_condition(each, patterns) for each in rule.when),
            place=place,
        )
        for order, (name, (rule, place)) in enumerate(rules.items())
    )
    return compiled, tuple(patterns.values())


def _condition(
    given: Condition, patterns: dict[tuple[tuple[str, ...], str | None, bool], Pattern]
) -> CompiledCondition:
    def named(texts: tuple[LogText, ...]) -> tuple[str, ...]:
        names = []
        for text in texts:
            key = (text.text, text.regex, text.ignore_case)
            if key not in patterns:
                patterns[key] = Pattern(
                    name=f"line:{len(patterns)}",
                    literals=text.text,
                    regex=text.expression,
                    ignore_case=text.ignore_case,
                )
            names.append(patterns[key].name)
        return tuple(names)

    return CompiledCondition(
        given=given,
        reason=re.compile(given.reason, re.ASCII) if given.reason else None,
        verdict=re.compile(given.verdict, re.ASCII) if given.verdict else None,
        log=named(given.log),
        also=named(given.also),
        without=named(given.without),
        final=named(given.final),
    )
