"""`prodsys check --folder`: say of each log in a folder, whoever's it is, how its job ended."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from include.checks.logtail import last_line
from include.joblogs.formats import read_facts
from include.joblogs.mu2e_log import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.joblogs.formats import LogFacts
    from include.joblogs.wrapper_facts import Fact

LOG = re.compile(r".+\.(log|out|err|stdout|stderr)(\.(gz|bz2|xz))?", re.IGNORECASE)
"""How the name of a log ends."""
MAX_REPORT = 10 * 2**20
"""Bytes of a report of prodsys's own."""
SHOWN = 20


class Ending(StrEnum):
    """How a job ended, by its log."""

    OK = "ok"
    """Every program that tells its end in the log says that all went well."""
    FAILED = "failed"
    """One of them ended with a code other than 0, or by a signal."""
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


def check_folder(folder: Path, *, as_json: bool) -> bool:
    """Show how the job of each log in a folder, and in those below, ended; return whether all went well."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder")
    found = [check_log(path) for path in sorted(logs_in(folder))]
    if not found:
        raise typer.BadParameter(
            f"there is no log in {folder}: none is called *.log, *.out, *.err (or packed)"
        )
    if as_json:
        typer.echo(json.dumps([asdict(item) for item in found], indent=2, ensure_ascii=False))
    else:
        _show(found)
    return all(item.ending is Ending.OK for item in found)


def logs_in(folder: Path) -> Iterator[str]:
    """Yield the paths of the logs below a folder; links to folders are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if LOG.fullmatch(name):
                yield f"{place}/{name}"


def check_log(path: str) -> LogVerdict:
    """Return how the job of one log ended: by prodsys's report beside it, else by what the log says."""
    report = _report(path)
    if report is not None:
        return _by_report(path, report)
    facts = read_facts(path)
    bad = _failure(facts)
    if bad is not None:
        reason, fact = bad
        return _told(path, Ending.FAILED, reason, fact)
    if facts.mu2e is not None:
        ending = Ending(facts.mu2e.outcome.value)
        told = facts.mu2e.exit_status or facts.mu2e.command
        return _told(path, ending, facts.mu2e.why(), told)
    for who, status in _statuses(facts):
        if status is not None:
            return _told(path, Ending.OK, f"{who} ended with status 0", status)
    reason = f"nothing in it tells how the job ended{': ' if facts.problem else ''}{facts.problem}"
    return _told(path, Ending.NOT_COMPLETE, reason, None)


def _told(path: str, ending: Ending, reason: str, fact: Fact[Any] | None) -> LogVerdict:
    evidence = f"{path}:{fact.line}: {fact.text}" if fact is not None else last_line(path)
    return LogVerdict(log=path, ending=ending, reason=reason, evidence=evidence)


def _failure(facts: LogFacts) -> tuple[str, Fact[Any] | None] | None:
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
        return f"line {last.line}: what GNU time measured ended {how}", None
    return None


def _statuses(facts: LogFacts) -> Iterator[tuple[str, Fact[int] | None]]:
    """Yield who tells the end in a log, the outermost first."""
    if facts.jobsub is not None:
        yield "the executable", facts.jobsub.exit_status
    if facts.art is not None:
        yield "art", facts.art.exit_status


def _report(path: str) -> dict[str, Any] | None:
    """Return the report of prodsys_job beside a job.log; None where there is none that can be read."""
    if not path.endswith("/job.log"):
        return None
    try:
        with (Path(path).parent / "report.json").open("rb") as stream:
            report = json.loads(stream.read(MAX_REPORT))
    except (OSError, ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) and "exit_code" in report else None


def _by_report(path: str, report: dict[str, Any]) -> LogVerdict:
    good = report["exit_code"] == 0 and not report.get("exit_signal") and not report.get("failed_at")
    if good:
        return LogVerdict(
            log=path, ending=Ending.OK, reason="prodsys_job reported exit code 0", evidence=last_line(path)
        )
    said = report.get("error") or f"exit code {report['exit_code']}, signal {report.get('exit_signal')}"
    reason = f"prodsys_job reported: {' '.join(str(said).split()):.300}"
    return LogVerdict(log=path, ending=Ending.FAILED, reason=reason, evidence=last_line(path))


def _show(found: list[LogVerdict]) -> None:
    counts = {ending: sum(item.ending is ending for item in found) for ending in Ending}
    told = ", ".join(f"{count} {ending}" for ending, count in counts.items() if count)
    typer.echo(f"{len(found)} logs: {told}")
    bad = [item for item in found if item.ending is not Ending.OK]
    for item in bad[:SHOWN]:
        typer.echo(f"  {item.log}: {item.ending}: {item.reason}")
        typer.echo(f"    evidence: {item.evidence}")
    if len(bad) > SHOWN:
        typer.echo(f"  {len(bad) - SHOWN} more; --json shows all")
