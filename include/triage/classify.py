"""Failures → diagnoses. Logs are read only as far as it pays: see docs/triage.md, "Sampling"."""

from __future__ import annotations

import contextlib
import logging
import random
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from include.bookkeeping.records import DiagnosisRecord
from include.campaign.states import HoldAction, Remedy
from include.checks.logtail import OWN_LINES
from include.joblogs.scanner import Scanner
from include.joblogs.signatures import signature
from include.triage.categories import UNCLASSIFIED, Rank
from include.triage.facts import clean, facts_of
from include.triage.failure import Diagnosis
from include.triage.matching import Candidate, candidates, decide, hold_of, retold
from include.triage.rulebook import load_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    from include.joblogs.scanner import Hit, Scan
    from include.triage.failure import Failure
    from include.triage.rulebook import Rulebook

log = logging.getLogger(__name__)

LOGS_A_GROUP = 200
"""So many logs of failures that look alike from outside are read."""
MORE_LOGS_A_GROUP = 100
"""So many more, spread over the rest."""
BYTES_A_GROUP = 4 * 2**30
"""No further log of such a group is read once these were, but at least LEAST_LOGS are."""
LEAST_LOGS = 20
"""Where fewer were read, they decide no remedy for the others."""
UNCLASSIFIED_ADVICE = (
    "read the log at the evidence; if it comes again, write a triage rule for it (docs/triage.md)"
)
_REMOVED = "prodsys removed it, held: "
_FOR_RULE = re.compile(
    rf"{_REMOVED}(?P<cause>.{{0,400}}) \[triage:(?P<rule>[a-z0-9-]{{1,60}})\]"
    r"(?: \(by user [^()]{1,200}\))?$",
    re.ASCII,
)
"""The whole reason: HTCondor adds who removed the job."""


def removal_reason(diagnosis: Diagnosis) -> str:
    """Return the reason to remove a held job with: later checks find in it what the job was held for."""
    return clean(f"{_REMOVED}{diagnosis.cause} [triage:{diagnosis.rule}]", 400)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What one log says."""

    hits: Mapping[str, Sequence[Hit]]
    tail: str
    """Its last line that says something, with its place; empty where there is none."""
    end: int = 0
    """The number of that line."""


_NOTHING = _Read(hits={}, tail="")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A diagnosis, and the candidate that decided; None where no rule fits."""

    diagnosis: Diagnosis
    by: Candidate | None


class Triage:
    """A set of rules, ready to be applied; safe to use from several threads."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self._scanner = Scanner(rulebook.patterns)
        self._rules = {rule.name: rule for rule in rulebook.rules}
        self._without_log = tuple(rule for rule in rulebook.rules if not rule.needs_log)

    @classmethod
    def load(cls, extra: Path | None = None) -> Self:
        """Return the installed rules with those of the folder `extra`; SpecError if that has a wrong one."""
        return cls(load_rules(extra))

    def diagnose(self, failures: Sequence[Failure], *, workers: int = 4) -> list[Diagnosis]:
        """Return one diagnosis a failure, in the same order.

        Storage that fails costs the evidence, not the diagnosis.
        """
        found: dict[int, Diagnosis] = {}
        groups: dict[tuple[object, ...], list[int]] = {}
        for index, failure in enumerate(failures):
            if failure.log:
                groups.setdefault(_alike(failure), []).append(index)
            else:
                found[index] = self._judge(failure, _NOTHING).diagnosis
        with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
            for members in groups.values():
                found.update(self._group(failures, members, pool.map))
        return [found[index] for index in range(len(failures))]

    def one(self, failure: Failure) -> Diagnosis:
        """Return the diagnosis of one failure, its log read."""
        return self._judge(failure, self._read(failure.log)).diagnosis

    def _group(
        self, failures: Sequence[Failure], members: list[int], run: Callable[..., object]
    ) -> dict[int, Diagnosis]:
        """Diagnose failures that look alike from outside: some by their log, the others as those."""
        chosen = _sample(failures, members)

        def judged(index: int) -> _Judged:
            return self._judge(failures[index], self._read(failures[index].log))

        read: dict[int, _Judged] = dict(zip(chosen, run(judged, chosen), strict=True))  # type: ignore[call-overload]
        found = {index: one.diagnosis for index, one in read.items()}
        if len(read) < len(members):
            log.info("%d failures look alike: %d of their logs were read", len(members), len(read))
            found.update(self._as_others(failures, members, read))
        return found

    def _as_others(
        self, failures: Sequence[Failure], members: Sequence[int], read: Mapping[int, _Judged]
    ) -> dict[int, Diagnosis]:
        """Return diagnoses of those whose log was not read: what is commonest on their node, else among all.

        What ad, report and verdict tell of one is its own. The remedy of those read is taken over where
        they all have the same; else it is to try again: some of these may well be mended by that.
        """
        everywhere: Counter[str] = Counter()
        on_node: dict[str | None, Counter[str]] = {}
        example: dict[str, _Judged] = {}
        for index, one in read.items():
            rule = one.diagnosis.rule
            everywhere[rule] += 1
            on_node.setdefault(_machine(failures[index]), Counter())[rule] += 1
            example.setdefault(rule, one)
        agreed = len(read) >= LEAST_LOGS and len({one.diagnosis.remedy for one in read.values()}) == 1
        found = {}
        for index in members:
            if index not in read:
                (rule, _), *_rest = (on_node.get(_machine(failures[index])) or everywhere).most_common(1)
                found[index] = self._unread(failures[index], example[rule], agreed=agreed)
        return found

    def _unread(self, failure: Failure, like: _Judged, *, agreed: bool) -> Diagnosis:
        """Return the diagnosis of a failure whose log was not read, but that of one that looks alike."""
        own = self._judge(failure, _NOTHING)
        if own.by is not None and own.by.rank >= Rank.ROOT:
            return own.diagnosis  # its ad, report or verdict names the cause: a log would hardly outrank it
        told = f"not read; as in {like.diagnosis.failure.job_id or 'another job'}: {like.diagnosis.evidence}"
        if like.by is None:
            cause = own.diagnosis.cause if own.by is None else like.diagnosis.cause
        else:
            cause = clean(retold(like.by, facts_of(failure, {})))
        remedy = like.diagnosis.remedy if agreed else Remedy.SAME
        return replace(like.diagnosis, failure=failure, cause=cause, evidence=told, remedy=remedy)

    def _read(self, path: str) -> _Read:
        """Search one log; one that cannot be read says nothing."""
        if not path:
            return _NOTHING
        try:
            scan = self._scanner.scan(path)
        except OSError as error:
            log.debug("%s: cannot be read: %s", path, error)
            return _NOTHING
        if scan.problem:
            log.debug("%s: %s", path, scan.problem)
        return _understood(scan)

    def one_from(self, failure: Failure, lines: Iterable[bytes]) -> Diagnosis:
        """Return the diagnosis of one failure whose log is given instead of read."""
        return self._judge(failure, _understood(self._scanner.scan_blocks(lines, failure.log))).diagnosis

    def _judge(self, failure: Failure, read: _Read) -> _Judged:
        facts = facts_of(failure, read.hits, end=read.end)
        rules = self.rulebook.rules if read.hits else self._without_log
        chosen, shadow = decide(candidates(rules, facts))
        held_for = self._held_for(facts.reason) if facts.status == "removed" else None
        if held_for is not None:
            made = replace(self._made(failure, held_for, shadow), evidence=clean(facts.reason, 400))
            return _Judged(diagnosis=made, by=held_for)
        if chosen is None:
            return _Judged(diagnosis=self._unclassified(failure, read, shadow), by=None)
        return _Judged(diagnosis=self._made(failure, chosen, shadow), by=chosen)

    def _held_for(self, reason: str) -> Candidate | None:
        """Return the rule by which prodsys itself removed a held job; None where it did not."""
        named = _FOR_RULE.match(reason)
        rule = self._rules.get(named["rule"]) if named else None
        if named is None or rule is None or not rule.holds:
            return None
        return Candidate(
            rule=rule, rank=rule.rank, line=0, given=0, evidence=reason, groups={}, told=named["cause"]
        )

    def _made(self, failure: Failure, chosen: Candidate, shadow: str) -> Diagnosis:
        rule = chosen.rule.rule
        action, pause = hold_of(chosen)
        return Diagnosis(
            failure=failure,
            category=rule.category.value,
            rule=chosen.rule.name,
            cause=clean(chosen.cause),
            evidence=chosen.evidence,
            advice=rule.advice,
            remedy=rule.remedy,
            hold=action,
            hold_pause_s=pause,
            signature=signature(_text_of(chosen.evidence)),
            shadow=shadow,
        )

    def _unclassified(self, failure: Failure, read: _Read, shadow: str) -> Diagnosis:
        evidence = read.tail or failure.verdict.evidence
        said = _text_of(evidence) or failure.verdict.reason
        return Diagnosis(
            failure=failure,
            category=UNCLASSIFIED,
            rule="",
            cause=clean(f"no rule fits: {failure.verdict.reason or 'the check gave no reason'}"),
            evidence=clean(evidence or failure.job_id, 500),
            advice=UNCLASSIFIED_ADVICE,
            # Much of what nobody has a rule for passes by itself; a recovery is bounded by the plan.
            remedy=Remedy.PERSON if failure.held else Remedy.SAME,
            hold=HoldAction.PERSON,
            hold_pause_s=0,
            signature=signature(said),
            shadow=shadow,
        )


def to_record(diagnosis: Diagnosis, *, at: float | None = None) -> DiagnosisRecord:
    """Return a diagnosis for the ledger; `at` (epoch seconds) stands in where the job's end is not known."""
    failure, ad, report = diagnosis.failure, diagnosis.failure.ad, diagnosis.failure.report
    ended = (ad.ended_at if ad is not None else None) or (report.ended if report is not None else None)
    facts = facts_of(failure, {})
    return DiagnosisRecord(
        process=failure.process,
        first_subrun=failure.first_subrun,
        last_subrun=failure.last_subrun,
        category=diagnosis.category,
        rule=diagnosis.rule,
        cause=diagnosis.cause,
        evidence=diagnosis.evidence,
        advice=diagnosis.advice,
        remedy=diagnosis.remedy,
        job_id=failure.job_id,
        host=(ad.machine if ad is not None else None) or (report.host if report is not None else None),
        site=(ad.site if ad is not None else None) or (report.site if report is not None else None),
        exit_code=facts.exit_code,
        exit_signal=facts.exit_signal,
        at=float(ended) if ended is not None else at,
        signature=diagnosis.signature,
        shadow=diagnosis.shadow,
    )


def _alike(failure: Failure) -> tuple[object, ...]:
    """Return what failures have in common that look alike without their logs."""
    ad, report, verdict = failure.ad, failure.report, failure.verdict
    ending = (report.exit_code, report.exit_signal, report.failed_at) if report is not None else ()
    told = (ad.exit_code, ad.exit_signal, ad.hold_code, ad.hold_subcode, ad.status) if ad is not None else ()
    return (failure.stage, verdict.check, signature(verdict.reason), ending, told, failure.held)


def _sample(failures: Sequence[Failure], members: list[int]) -> list[int]:
    """Return which of some failures' logs are read: the first, and some spread over the rest, in order.

    Where they are large, fewer are read, spread over all.
    """
    rest = members[LOGS_A_GROUP:]
    more = min(MORE_LOGS_A_GROUP, len(rest))
    wanted = members[:LOGS_A_GROUP] + [rest[place * len(rest) // more] for place in range(more)]
    if sum(_size(failures[index].log) for index in wanted) <= BYTES_A_GROUP:
        return wanted
    random.Random(0).shuffle(wanted)  # noqa: S311 - the same sample each time
    total = 0
    chosen: list[int] = []
    for index in wanted:
        if total >= BYTES_A_GROUP and len(chosen) >= LEAST_LOGS:
            break
        total += _size(failures[index].log)
        chosen.append(index)
    return sorted(chosen)


def _size(path: str) -> int:
    with contextlib.suppress(OSError, ValueError):  # ValueError: a NUL in the path
        return Path(path).stat().st_size
    return 0


def _machine(failure: Failure) -> str | None:
    return failure.ad.machine if failure.ad is not None else None


def _understood(scan: Scan) -> _Read:
    """Return a scan's hits by pattern, in order of line with the last one last, and its last line."""
    hits: dict[str, list[Hit]] = {}
    for hit in scan.hits:
        hits.setdefault(hit.pattern, []).append(hit)
    for pattern, last in scan.last.items():
        if hits.get(pattern) and hits[pattern][-1].line != last.line:
            hits[pattern].append(last)
    said = [(line, text) for line, text in scan.tail if not text.startswith(OWN_LINES)]
    tail = f"{scan.path}:{said[-1][0]}: {said[-1][1]}" if said else ""
    return _Read(hits=hits, tail=tail, end=said[-1][0] if said else scan.lines)


def _text_of(evidence: str) -> str:
    """Return the text of `FILE:LINE: text`; all of it where it has no place."""
    place = re.match(r"/[^\n]{0,4000}?(?::\d+)?: ", evidence)
    return evidence[place.end() :] if place else evidence
