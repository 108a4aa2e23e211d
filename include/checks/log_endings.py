"""How a job ended by its log alone, whoever's it is: without a ledger and without a pool."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal

from include.checks.evidence import read_small
from include.checks.integrity import checksums
from include.checks.logtail import last_line
from include.joblogs.formats import read_facts
from include.joblogs.job_history import histories
from include.joblogs.mu2e_log import Outcome
from include.joblogs.stream import LogStream
from include.joblogs.wrapper_facts import Fact

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.joblogs.formats import LogFacts
    from include.joblogs.job_history import JobHistory
    from include.joblogs.mu2e_log import Manifest, ManifestFile

Files = Literal["not", "size", "read"]
"""What is done about the files that a manifest lists and that lie beside the log."""
_EVENT = re.compile(rb"\s{0,80}\d{3} \(\d{1,15}\.-?\d{1,15}\.-?\d{1,15}\) \d\d")
"""The begin of HTCondor's job event log."""


class Ending(StrEnum):
    """How a job ended, by its log."""

    OK = "ok"
    """Every program that tells its end in the log says that all went well."""
    FAILED = "failed"
    """One of them ended with a code other than 0, or by a signal; or a file is not as its manifest says."""
    NOT_COMPLETE = "not complete"
    """Nothing in the log tells the end: it is cut, or the job was killed or still runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogVerdict:
    """What one log says."""

    log: str
    ending: Ending
    reason: str
    evidence: str
    """`LOG:LINE: text`."""


def ending_of(path: str, *, files: Files = "size") -> LogVerdict:
    """Return how the job of one log ended: by prodsys's report beside it, else by what the log says."""
    report = report_beside(path)
    if report is not None:
        return _by_report(path, report)
    if _EVENT.match(_first_bytes(path)):
        return _by_events(path)
    facts = read_facts(path)
    bad = _failure(facts)
    if bad is not None:
        reason, fact = bad
        return _told(path, Ending.FAILED, reason, fact)
    if facts.mu2e is not None:
        ending = Ending(facts.mu2e.outcome.value)
        told = facts.mu2e.exit_status or facts.mu2e.command
        verdict = _told(path, ending, facts.mu2e.why(), told)
        manifest = facts.mu2e.manifest
        return verdict if manifest is None else _with_files(verdict, manifest, files)
    for who, status in _statuses(facts):
        if status is not None:
            return _told(path, Ending.OK, f"{who} ended with status 0", status)
    reason = f"nothing in it tells how the job ended{': ' if facts.problem else ''}{facts.problem}"
    return _told(path, Ending.NOT_COMPLETE, reason, None)


def report_beside(path: str) -> dict[str, Any] | None:
    """Return the report of prodsys_job beside a job.log; None where there is none that can be read."""
    if os.path.basename(path) != "job.log":  # noqa: PTH119
        return None
    try:
        data, _ = read_small(f"{path[: -len('job.log')]}report.json")
        report = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and "exit_code" in report else None


def _first_bytes(path: str) -> bytes:
    return next(iter(LogStream(path)), b"")[:200]


def _told(path: str, ending: Ending, reason: str, fact: Fact[Any] | None) -> LogVerdict:
    evidence = f"{path}:{fact.line}: {fact.text}" if fact is not None else last_line(path)
    return LogVerdict(log=path, ending=ending, reason=reason, evidence=evidence)


def _failure(facts: LogFacts) -> tuple[str, Fact[Any]] | None:
    """Return what says that the job failed: the innermost program first, as the others repeat its code."""
    if facts.art is not None and facts.art.exit_status is not None and facts.art.exit_status.value:
        return f"art ended with status {facts.art.exit_status.value}", facts.art.exit_status
    if facts.mu2e is not None and facts.mu2e.outcome is Outcome.FAILED:
        told = (facts.mu2e.exit_status, facts.mu2e.error, facts.mu2e.art_status)
        return facts.mu2e.why(), next(fact for fact in told if fact is not None and fact.value)
    if facts.jobsub is not None and facts.jobsub.signal is not None:
        return f"jobsub's wrapper got SIG{facts.jobsub.signal.value}", facts.jobsub.signal
    if facts.jobsub is not None and facts.jobsub.exit_status is not None and facts.jobsub.exit_status.value:
        return f"the executable ended with status {facts.jobsub.exit_status.value}", facts.jobsub.exit_status
    if facts.times and (facts.times[-1].exit_status or facts.times[-1].signal):
        last = facts.times[-1]
        how = f"by signal {last.signal}" if last.signal else f"with status {last.exit_status}"
        return f"what GNU time measured ended {how}", Fact(value=0, line=last.line, text=last.text)
    return None


def _statuses(facts: LogFacts) -> Iterator[tuple[str, Fact[int] | None]]:
    """Yield who tells the end in a log, the outermost first."""
    if facts.jobsub is not None:
        yield "the executable", facts.jobsub.exit_status
    if facts.art is not None:
        yield "art", facts.art.exit_status


def _by_report(path: str, report: dict[str, Any]) -> LogVerdict:
    good = report["exit_code"] == 0 and not report.get("exit_signal") and not report.get("failed_at")
    if good:
        return LogVerdict(
            log=path, ending=Ending.OK, reason="prodsys_job reported exit code 0", evidence=last_line(path)
        )
    said = report.get("error") or f"exit code {report['exit_code']}, signal {report.get('exit_signal')}"
    reason = f"prodsys_job reported: {' '.join(str(said).split()):.300}"
    return LogVerdict(log=path, ending=Ending.FAILED, reason=reason, evidence=last_line(path))


def _by_events(path: str) -> LogVerdict:
    """Return how the jobs of HTCondor's event log ended: the worst of them decides."""
    jobs = histories(path)
    endings = {key: _ending_by_events(job) for key, job in jobs.items()}
    counts = Counter(endings.values())
    parts = [f"{counts[ending]} {ending}" for ending in Ending if counts[ending]]
    twice = sum(job.ran_more_than_once for job in jobs.values())
    parts += [f"{twice} ran more than once"] if twice else []
    parts += [jobs.problem] if jobs.problem else []
    worst = next((each for each in (Ending.FAILED, Ending.NOT_COMPLETE) if counts[each]), Ending.OK)
    ending = worst if jobs else Ending.NOT_COMPLETE
    key = next((key for key, each in endings.items() if each is ending), None)
    evidence = (
        path if key is None else f"{path}:{jobs[key].sequence[-1][1]}: {key[0]}.{key[1]} {jobs[key].why()}"
    )
    return LogVerdict(
        log=path,
        ending=ending,
        reason=f"event log of {len(jobs)} jobs: {', '.join(parts)}",
        evidence=evidence,
    )


def _ending_by_events(job: JobHistory) -> Ending:
    if job.aborted or (job.terminated and job.exits and job.exits[-1].code != 0):
        return Ending.FAILED
    return Ending.OK if job.terminated else Ending.NOT_COMPLETE


def _with_files(verdict: LogVerdict, manifest: Manifest, files: Files) -> LogVerdict:
    """Compare the files of a good job's manifest that lie beside the log with what it says of them."""
    if verdict.ending is not Ending.OK or files == "not":
        return verdict
    folder = os.path.dirname(verdict.log) or "."  # noqa: PTH120
    there = {each.name for each in os.scandir(folder) if each.is_file(follow_symlinks=False)}
    listed = [each for each in manifest.files if f"{folder}/{each.name}" != verdict.log]
    beside = [each for each in listed if each.name in there]
    for each in beside:
        problem = _problem(each, f"{folder}/{each.name}", read=files == "read")
        if problem:
            place = f"{verdict.log}:{each.line}: {each.name}"
            return replace(verdict, ending=Ending.FAILED, reason=problem, evidence=place)
    lost = [each.name for each in listed if each.name not in there]
    if beside and lost:
        reason = f"{len(lost)} of the manifest's {len(listed)} files are not beside the log, {lost[0]} first"
        return replace(verdict, ending=Ending.FAILED, reason=reason)
    how = "size and sha256" if files == "read" else "size"
    told = f"; {len(beside)} files beside it have the right {how}" if beside else ""
    return replace(verdict, reason=f"{verdict.reason}{told}")


def _problem(listed: ManifestFile, path: str, *, read: bool) -> str:
    try:
        size = os.lstat(path).st_size
        if listed.size is not None and size != listed.size:
            return f"wrong size: {path} has {size} bytes, the manifest says {listed.size}"
        found = checksums(path)[0] if read else listed.sha256
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    return "" if found == listed.sha256 else f"wrong sha256: {path} has {found[:12]}…"
