"""A ledger with campaigns in every state, for tests of what people are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.bookkeeping.records import ActionRecord, DiagnosisRecord, UnitState
from include.campaign.naming import submission_tag
from include.campaign.states import ActionKind, JobStatus, Outcome, Remedy, SubrunState
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    execution,
    job,
    output,
    sample,
    units,
    verdict,
)

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger

HOSTILE = "<script>alert('evil')</script> \"'><img src=x onerror=alert(1)> {{ 7 * 7 }}"
SUBRUNS = 4


def reserve(
    ledger: Ledger, campaign: str, *, runs: tuple[int, int], slices: int = 2, now: float = NOW
) -> None:
    """Reserve slices of four subruns."""
    plan = campaign_plan(campaign, runs=runs)
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id=f"manual__{campaign}+00:00", slices=slices, now=now)


def submit(
    ledger: Ledger,
    campaign: str,
    stage: str,
    run: int,
    *,
    recovery: int = 0,
    cluster: int = 7,
    now: float = NOW,
) -> str:
    """Send four jobs of a stage; return the tag."""
    dag_id = f"demo.{campaign}"
    tag = submission_tag(dag_id=dag_id, tranche=TRANCHE, run=run, stage=stage, recovery=recovery)
    ledger.intend(
        tag=tag, dag_id=dag_id, tranche=TRANCHE, run=run, stage=stage, recovery=recovery,
        units=units([(n, n) for n in range(SUBRUNS)]), work_dir="/work", now=now,
    )  # fmt: skip
    ledger.record_submitted(tag, clusters=[("ap1", cluster, SUBRUNS)], message="sent", now=now + 1)
    return tag


def check(ledger: Ledger, tag: str, *, good: int, run: int, stage: str, cluster: int = 7, now: float) -> None:
    """Let the first `good` of four jobs have made a good output, the others none."""
    ledger.record_jobs(
        tag,
        [
            job(
                n,
                cluster=cluster,
                global_job_id=f"ap1#{cluster}.{n}#1",
                exit_code=0 if n < good else 1,
                ended_at=now,
            )
            for n in range(SUBRUNS)
        ],
    )
    ledger.record_executions(tag, [execution(n, cluster=cluster) for n in range(SUBRUNS)])
    made = [output(stage, n, run=run) for n in range(good)]
    ledger.record_outputs(tag, made, now=now)
    ledger.settle(
        tag,
        verdicts=[verdict(n, Outcome.PASSED if n < good else Outcome.FAILED) for n in range(SUBRUNS)],
        accept=[(each.execution, each.name) for each in made],
        reject=[],
        states=[
            UnitState(process=n, state=SubrunState.ACCEPTED if n < good else SubrunState.MISSING)
            for n in range(SUBRUNS)
        ],
        now=now,
    )
    ledger.record_ended(tag, now=now)


def diagnose(ledger: Ledger, tag: str, processes: list[int], *, now: float, text: str = HOSTILE) -> None:
    """Say why processes failed, with evidence from a hostile log."""
    ledger.record_diagnoses(
        tag,
        [
            DiagnosisRecord(
                process=n, first_subrun=n, last_subrun=n, category="memory", rule="bad-alloc",
                cause=f"it ran out of memory {text}", evidence=f"/logs/x.log:3: {text}", advice="more",
                remedy=Remedy.MORE_MEMORY, job_id=f"7.{n}@ap1", host="wn1.example", site="Site <b>A</b>",
                exit_code=1, exit_signal=None, at=now, signature="out of memory",
            )
            for n in processes
        ],
        now,
    )  # fmt: skip


def ask(ledger: Ledger, campaign: str, stage: str, run: int, *, now: float) -> None:
    """Ask a person about a stage."""
    ledger.record_action(
        ActionRecord(
            at=now, who="prodsys", kind=ActionKind.ASK, dag_id=f"demo.{campaign}", tranche=TRANCHE, run=run,
            stage=stage, tag="", detail=f"2 of 4 subruns accepted {HOSTILE}",
        )
    )  # fmt: skip


def fill(ledger: Ledger) -> None:
    """Make `demo.z` run, fail and ask, `demo.quiet` wait, and `demo.secret` be nobody's business."""
    reserve(ledger, "z", runs=(1000, 1999))
    reserve(ledger, "quiet", runs=(2000, 2999))
    reserve(ledger, "secret", runs=(3000, 3999))
    first = submit(ledger, "z", "gen", 1000)
    ledger.record_progress([sample(first, at=NOW + 60 * n, running=4 - n, completed=n) for n in range(5)])
    check(ledger, first, good=2, run=1000, stage="gen", now=NOW + 300)
    diagnose(ledger, first, [2, 3], now=NOW + 300)
    ask(ledger, "z", "gen", 1000, now=NOW + 310)
    second = submit(ledger, "z", "gen", 1001, cluster=8, now=NOW + 400)
    ledger.record_progress([sample(second, at=NOW + 500, idle=1, running=1, held=1, completed=1)])
    secret = submit(ledger, "secret", "gen", 3000, cluster=9)
    check(ledger, secret, good=4, run=3000, stage="gen", cluster=9, now=NOW + 300)


__all__ = ["HOSTILE", "JobStatus", "ask", "check", "diagnose", "fill", "reserve", "submit"]
