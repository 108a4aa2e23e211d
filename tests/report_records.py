"""A small campaign in the middle, whose figures can be had by hand.

gen of run 1000 has six jobs' worth of history at three sites; reco is at one slice; another experiment has
one good job. Times are hours after NOW.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.campaign.states import ActionKind, JobStatus
from tests.ledger_records import (
    NOW,
    TRANCHE,
    action,
    campaign_plan,
    diagnosis,
    execution,
    intend,
    job,
    output,
    sample,
    tag_of,
    units,
)

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import JobRecord, OutputRecord

HOUR = 3600.0


def fill(ledger: Ledger) -> None:
    """Record the story."""
    ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=2, now=NOW)
    _gen(ledger)
    _recovery(ledger)
    _running(ledger)
    _reco(ledger)
    _other(ledger)
    ledger.record_actions(
        [
            action(ActionKind.RECOVER, NOW + 1.5 * HOUR, tag=tag_of("gen", recovery=1)),
            action(ActionKind.ACCEPT, NOW + 1.9 * HOUR, who="ann", detail="Accept as is: 3 of 4"),
        ]
    )


def _gen(ledger: Ledger) -> None:
    """Three of four subruns are made at FNAL, one twice; three jobs fail at BNL, one is held."""
    tag = intend(ledger, "gen", ranges=[(0, 0), (1, 1), (2, 2), (3, 3)])
    ledger.record_submitted(tag, clusters=[("ap1", 7, 4), ("ap1", 8, 3)], message="", now=NOW)
    ledger.record_jobs(tag, [*(_good(n) for n in range(3)), *_bad()])
    made = [output("gen", n) for n in range(3)]
    _settle(ledger, tag, [*made, output("gen", 1, start=2)], accepted=made, now=NOW + HOUR)
    memory = diagnosis(3, site="BNL", host="wn9", at=NOW + HOUR)
    removed = diagnosis(3, category="operator", rule="removed-by-hand", host=None, at=NOW + HOUR)
    ledger.record_diagnoses(tag, [memory, removed], now=NOW + HOUR)
    ledger.record_ended(tag, now=NOW + HOUR)


def _good(process: int) -> JobRecord:
    return job(
        process,
        site="FNAL",
        queued_at=NOW,
        started_at=NOW + 60,
        ended_at=NOW + HOUR + process,
        wall_s=HOUR,
        cpu_s=None if process == 2 else 2700.0,
        memory_mb=700 + 100 * process,
        starts=3 if process == 1 else 1,
    )


def _bad() -> list[JobRecord]:
    at_bnl = {"site": "BNL", "host": "wn9", "cpu_s": None, "started_at": None, "ended_at": NOW + HOUR + 9}
    gone = {**at_bnl, "site": None, "host": None, "wall_s": None, "ended_at": None, "exit_code": None}
    return [
        job(3, **at_bnl, exit_code=None, exit_signal=9, wall_s=2 * HOUR),
        job(4, **at_bnl, cluster=8, unit=3, exit_code=7, wall_s=0.5 * HOUR),
        job(5, **at_bnl, cluster=8, unit=3, exit_code=None, status=JobStatus.REMOVED, wall_s=None),
        job(6, **gone, cluster=8, unit=3, status=JobStatus.HELD, hold_code=34),
    ]


def _recovery(ledger: Ledger) -> None:
    """The fourth subrun; nothing is known of its job but its file and how long it took."""
    tag = intend(ledger, "gen", recovery=1, ranges=[(3, 3)], now=NOW + 1.5 * HOUR)
    ledger.record_submitted(tag, clusters=[("ap1", 9, 1)], message="", now=NOW + 1.5 * HOUR)
    ledger.record_jobs(
        tag,
        [job(0, cluster=9, site=None, host=None, status=JobStatus.UNKNOWN, wall_s=0.5 * HOUR, cpu_s=None,
             ended_at=None, started_at=None, exit_code=None, starts=0)],
    )  # fmt: skip
    unclear = diagnosis(
        0, first_subrun=3, last_subrun=3, category="unclassified", rule="", host="wn8", at=NOW + HOUR
    )
    ledger.record_diagnoses(tag, [unclear], now=NOW + 2 * HOUR)
    made = [output("gen", 3)]
    _settle(ledger, tag, made, accepted=made, now=NOW + 3 * HOUR)
    ledger.record_ended(tag, now=NOW + 3 * HOUR)


def _running(ledger: Ledger) -> None:
    """Run 1001 is half way: one idle, two running, one held."""
    tag = intend(ledger, "gen", run=1001, now=NOW + 2 * HOUR)
    ledger.record_submitted(tag, clusters=[("ap1", 10, 4)], message="", now=NOW + 2 * HOUR)
    ledger.record_jobs(
        tag,
        [job(0, cluster=10, site=None, host=None, status=JobStatus.RUNNING, wall_s=None, cpu_s=None,
             ended_at=None, started_at=None, exit_code=None, starts=1)],
    )  # fmt: skip
    ledger.record_progress([sample(tag, NOW + 3 * HOUR, idle=1, running=2, held=1)])


def _reco(ledger: Ledger) -> None:
    """One submission is refused, the next makes subrun 0."""
    refused = intend(ledger, "reco", now=NOW + 2 * HOUR)
    ledger.record_refused(refused, message="no such group", now=NOW + 2 * HOUR)
    tag = intend(ledger, "reco", recovery=1, ranges=[(0, 0)], now=NOW + 2 * HOUR)
    ledger.record_submitted(tag, clusters=[("ap1", 11, 1)], message="", now=NOW + 2 * HOUR)
    ended = {"ended_at": NOW + 3.5 * HOUR, "wall_s": HOUR, "cpu_s": HOUR / 2, "site": "FNAL"}
    ledger.record_jobs(tag, [job(0, cluster=11, **ended)])
    made = [output("reco", 0)]
    _settle(ledger, tag, made, accepted=made, now=NOW + 3.5 * HOUR)
    ledger.record_ended(tag, now=NOW + 3.5 * HOUR)


def _other(ledger: Ledger) -> None:
    """One good job of other.y, at the very beginning."""
    plan = campaign_plan("y", experiment="other")
    ledger.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
    tag = tag_of("gen", dag_id="other.y")
    ledger.intend(
        tag=tag, dag_id="other.y", tranche=TRANCHE, run=1000, stage="gen", recovery=0,
        units=units([(0, 0)]), work_dir="/work dir/other", now=NOW,
    )  # fmt: skip
    ledger.record_submitted(tag, clusters=[("ap1", 12, 1)], message="", now=NOW)
    ledger.record_jobs(tag, [job(0, cluster=12, site="FNAL", wall_s=600.0, cpu_s=300.0, ended_at=NOW + 600)])


def _settle(
    ledger: Ledger, tag: str, outputs: list[OutputRecord], *, accepted: list[OutputRecord], now: float
) -> None:
    ledger.record_executions(tag, [execution(each.first_subrun) for each in accepted])
    ledger.record_outputs(tag, outputs, now=now)
    # One more of a subrun that has one is a duplicate.
    keys = [(each.execution, each.name) for each in (*accepted, *outputs)]
    ledger.settle(tag, verdicts=[], accept=keys, reject=[], now=now)
