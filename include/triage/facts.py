"""What rules are applied to: all that is known of one failure, in one shape."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.campaign.spec import BASE_CHECKS
from include.campaign.states import JobStatus
from include.joblogs.text import clean as cleaned
from include.joblogs.text import shorten
from include.triage.categories import Event, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.batch.pool import JobAd
    from include.joblogs.scanner import Hit
    from include.triage.failure import Failure

EXIT = "exit"
"""The check that goes by how the job ended."""
MAX_TEXT = 2000
"""Characters of a reason that are looked at."""
PRODSYS_CODES = frozenset({81, 82, 83, 84, 85, 126, 127})
"""Codes of prodsys_job itself; source: docs/job-contract.md."""
_PRODSYS_STEPS = ("inputs", "outputs", "outstage", "node")
_HELD = re.compile(
    r"held with code (?P<code>\d{1,6})/(?P<subcode>-?\d{1,6}): (?P<reason>.{0,2000})", re.ASCII
)
_REMOVED = re.compile(r"^removed: (?P<reason>.{0,2000})")
_EXIT = re.compile(r"exit code (?P<code>-?\d{1,9}) (?:from|by)\b", re.ASCII)
_SIGNAL = re.compile(r"\bsignal (?P<number>\d{1,3})\b.* ended ", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One failure as rules see it."""

    exit_code: int | None
    exit_signal: int | None
    status: str
    """held, removed or completed; empty where nobody knows."""
    hold_code: int | None
    hold_subcode: int
    reason: str
    """Of the hold or the removal."""
    check: str
    verdict: str
    evidence: str
    """The verdict's."""
    sources: frozenset[Source]
    events: frozenset[Event]
    memory_used: float | None
    """Share of the memory asked for."""
    time_used: float | None
    """Share of the lifetime asked for."""
    log: str
    hits: Mapping[str, Sequence[Hit]]
    """Pattern → its hits in the log, in order of line."""
    end: int
    """The log's last line that says something; 0 where nobody knows."""
    values: Mapping[str, str]
    """What a cause may name."""

    @property
    def signal(self) -> int | None:
        """The signal that ended the script, also where a shell or prodsys_job told it as 128 + n."""
        if self.exit_signal is not None:
            return self.exit_signal
        code = self.exit_code
        return code - 128 if code is not None and 128 < code <= 128 + 64 else None


def clean(text: str, longest: int = 300) -> str:
    """Return a text of foreign origin as one printable line of at most `longest` characters."""
    return shorten(cleaned(" ".join(text[: 4 * longest].split())), limit=longest)


def facts_of(failure: Failure, hits: Mapping[str, Sequence[Hit]], *, end: int = 0) -> Facts:
    """Return what is known of a failure, with the `hits` in its log and the number of the log's last line."""
    ad, verdict = failure.ad, failure.verdict
    code, number = _ending(failure)
    status, hold_code, hold_subcode, reason = _state(failure)
    memory = ad.memory_mb if ad is not None else None
    requested = failure.requested_memory_mb or (ad.requested_memory_mb if ad is not None else None)
    wall = _wall(failure)
    values = {
        "exit": code,
        "signal": _signal_name(number if number is not None else (code or 0) - 128),
        "hold": f"{hold_code}/{hold_subcode}" if hold_code is not None else None,
        "errno": os.strerror(hold_subcode) if 0 < hold_subcode < 200 else f"error {hold_subcode}",
        "host": (ad.machine if ad else None) or (failure.report.host if failure.report else None),
        "site": (ad.site if ad else None) or (failure.report.site if failure.report else None),
        "job": failure.job_id,
        "memory_mb": memory,
        "requested_mb": requested,
        "wall": _duration(wall),
        "lifetime": _duration(failure.lifetime_s),
        "reason": reason,
        "verdict": verdict.reason,
    }
    return Facts(
        exit_code=code,
        exit_signal=number,
        status=status,
        hold_code=hold_code,
        hold_subcode=hold_subcode,
        reason=reason[:MAX_TEXT],
        check=verdict.check,
        verdict=verdict.reason[:MAX_TEXT],
        evidence=verdict.evidence,
        sources=_sources(failure, code, number, status, hits),
        events=_events(ad) if ad is not None else frozenset(),
        memory_used=memory / requested if memory is not None and requested else None,
        time_used=wall / failure.lifetime_s if wall is not None and failure.lifetime_s else None,
        log=failure.log,
        hits=hits,
        end=end,
        values={name: clean(str(value), 200) for name, value in values.items() if value not in (None, "")},
    )


def _ending(failure: Failure) -> tuple[int | None, int | None]:
    """Return exit code and signal: of the script by the report, else of the job by the ad or the verdict."""
    report, ad = failure.report, failure.ad
    if report is not None and not report.good:
        if report.exit_signal is not None:
            return None, report.exit_signal
        if report.exit_code:
            return report.exit_code, None
    if ad is not None and ad.status is JobStatus.COMPLETED and (ad.exit_code or ad.exit_signal is not None):
        return ad.exit_code, ad.exit_signal
    if failure.verdict.check != EXIT:
        return None, None
    if number := _SIGNAL.search(failure.verdict.reason[:MAX_TEXT]):
        return None, int(number["number"])
    code = _EXIT.search(failure.verdict.reason[:MAX_TEXT])
    return (int(code["code"]) if code else None), None


def _state(failure: Failure) -> tuple[str, int | None, int, str]:
    """Return status, hold code, subcode and reason; an ad may keep the code of a hold that is over."""
    ad = failure.ad
    if ad is not None and ad.status is JobStatus.HELD:
        return "held", ad.hold_code, ad.hold_subcode or 0, ad.hold_reason or ""
    if ad is not None and ad.status is JobStatus.REMOVED:
        return "removed", None, 0, ad.remove_reason or ""
    if ad is not None and ad.status is JobStatus.COMPLETED:
        return "completed", None, 0, ""
    if held := _HELD.search(failure.verdict.reason):
        return "held", int(held["code"]), int(held["subcode"]), held["reason"]
    if removed := _REMOVED.search(failure.verdict.reason):
        return "removed", None, 0, removed["reason"]
    return "", None, 0, ""


def _wall(failure: Failure) -> float | None:
    if failure.ad is not None and failure.ad.wall_s is not None:
        return failure.ad.wall_s
    report = failure.report
    return None if report is None or report.is_manifest else report.ended - report.started


def _sources(
    failure: Failure, code: int | None, number: int | None, status: str, hits: Mapping[str, Sequence[Hit]]
) -> frozenset[Source]:
    """Return whose word the end of the job is."""
    report = failure.report
    if status in ("held", "removed"):
        return frozenset({Source.BATCH})
    if failure.verdict.check != EXIT:
        own = failure.verdict.check not in BASE_CHECKS
        return frozenset({Source.CHECK, Source.USER}) if own else frozenset({Source.CHECK})
    if report is None:
        own = code in PRODSYS_CODES
    else:
        ran = report.exit_code is not None or report.exit_signal is not None
        own = report.failed_at in _PRODSYS_STEPS or (report.failed_at == "script" and not ran)
    if own:
        return frozenset({Source.PRODSYS})
    found = {Source.SCRIPT}
    ends = [int(dict(hit.groups)["code"]) for hit in hits.get("source:art-end", ())]
    signalled = number is not None or (code or 0) > 128
    if code in ends or (not ends and "source:art-seen" in hits) or (signalled and "source:art-seen" in hits):
        found.add(Source.ART)
    elif "source:wrapper" in hits:
        found.add(Source.WRAPPER)
    return frozenset(found)


def _events(ad: JobAd) -> frozenset[Event]:
    found = {
        Event.EVICTED: ad.evictions > 0,
        Event.RECONNECTED: ad.reconnects > 0,
        Event.RESTARTED: ad.starts > 1,
        Event.ENDED_TWICE: ad.rows > 1,
    }
    return frozenset(event for event, true in found.items() if true)


def _signal_name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}" if number > 0 else None


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
