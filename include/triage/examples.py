"""The examples of rules are their tests: what triage says of each must be what the rule file says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.batch.pool import JobAd
from include.campaign.states import JobStatus, Outcome
from include.checks.reports import Report
from include.checks.verdict import Verdict
from include.triage.categories import Event
from include.triage.failure import Failure

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.triage.classify import Triage
    from include.triage.compiled import CompiledRule
    from include.triage.conditions import Example
    from include.triage.failure import Diagnosis

LOG = "/logs/job.log"
HOST, SCHEDD = "slot1@wn1.example", "ap1"
_STATUS = {"held": JobStatus.HELD, "removed": JobStatus.REMOVED, "completed": JobStatus.COMPLETED}


def problems(triage: Triage, names: Collection[str] | None = None) -> list[str]:
    """Return a sentence on each example that does not hold, with the rule's place; empty if all hold.

    With `names`, only these rules' examples are looked at.
    """
    found = []
    for compiled in triage.rulebook.rules:
        if names is not None and compiled.name not in names:
            continue
        for number, example in enumerate(compiled.rule.examples, start=1):
            found += _wrong(triage, compiled, example, f"example {number}", expected=compiled.name)
        for number, example in enumerate(compiled.rule.counter_examples, start=1):
            what, other = f"counter-example {number}", example.decides
            found += _wrong(triage, compiled, example, what, expected=other)
    return found


def _wrong(
    triage: Triage, compiled: CompiledRule, example: Example, what: str, *, expected: str | None
) -> list[str]:
    said = judged(triage, example)
    name = said.rule or "unclassified"
    # A shadow rule decides nothing: that it would have is what its example shows.
    decided = said.shadow if compiled.rule.shadow and expected == compiled.name else name
    where = f"{compiled.place}: rule {compiled.name}, {what}"
    if expected is None:
        return [f"{where}: this rule decides all the same"] if name == compiled.name else []
    if decided != expected:
        return [f"{where}: {expected} should decide, but {name} does: {said.cause} ({said.evidence})"]
    found = []
    if example.cause is not None and not compiled.rule.shadow and said.cause != example.cause:
        found.append(f"{where}: the cause is {said.cause!r}, expected {example.cause!r}")
    if example.evidence is not None and not compiled.rule.shadow and example.evidence not in said.evidence:
        found.append(f"{where}: the evidence is {said.evidence!r}, expected {example.evidence!r} in it")
    return found


def judged(triage: Triage, example: Example) -> Diagnosis:
    """Return what triage says of an example."""
    return triage.one_from(failure_of(example), [(example.log or "").encode()])


def failure_of(example: Example) -> Failure:
    """Return the failure that an example describes."""
    code, _, subcode = (example.hold or "").partition("/")
    ended = example.status == "completed"
    ad = JobAd(
        schedd=SCHEDD, cluster=41, process=0, global_job_id=f"{SCHEDD}#41.0#1", tag=None,
        status=_STATUS[example.status],
        exit_code=example.exit if ended else None, exit_signal=example.signal if ended else None,
        hold_code=int(code) if code else None, hold_subcode=int(subcode) if subcode else None,
        hold_reason=example.reason if example.status == "held" else None,
        remove_reason=example.reason if example.status == "removed" else None,
        host=HOST, site="Site", starts=2 if Event.RESTARTED in example.events else 1, shadow_starts=1,
        queued_at=1, started_at=2, ended_at=3, status_since=3,
        wall_s=example.wall, cpu_s=None, memory_mb=example.memory_mb,
        reconnects=int(Event.RECONNECTED in example.events), evictions=int(Event.EVICTED in example.events),
        rows=2 if Event.ENDED_TWICE in example.events else 1,
    )  # fmt: skip
    reason = example.verdict or _reason(example)
    return Failure(
        stage="gen", run=1000, process=0, first_subrun=0, last_subrun=0, job_id=ad.job_id,
        verdict=Verdict(check=example.check, outcome=Outcome.FAILED, reason=reason),
        ad=ad, report=_report(example) if ended and example.reported else None,
        log=LOG if example.log is not None else "", held=example.status == "held",
        requested_memory_mb=example.requested_mb, lifetime_s=example.lifetime,
    )  # fmt: skip


def _reason(example: Example) -> str:
    """Return what the check `exit` says of such a job."""
    if example.status == "held":
        return f"held with code {example.hold or '?/0'}: {example.reason}"
    if example.status == "removed":
        return f"removed: {example.reason}"
    if example.signal is not None:
        return f"signal {example.signal} ended gen.py"
    by = "from gen.py" if example.reported else "by the ad, without a report"
    return f"exit code {example.exit} {by}"


def _report(example: Example) -> Report:
    ran = example.failed_at not in ("inputs", "node") and not _not_started(example)
    return Report(
        file="/logs/report.json", is_manifest=False, execution="41.0.1-00000000", cluster=41, process=0,
        unit=0, schedd=SCHEDD, run=1000, first_subrun=0, last_subrun=0, host="wn1.example", site="Site",
        started=2.0, ended=2.0 + (example.wall or 1),
        exit_code=(0 if example.failed_at in ("outputs", "outstage") else example.exit) if ran else None,
        exit_signal=example.signal, failed_at=None if example.check != "exit" else example.failed_at,
        error="", outputs=(), log=LOG,
    )  # fmt: skip


def _not_started(example: Example) -> bool:
    return "did not end by itself" in example.verdict
