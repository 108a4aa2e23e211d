"""A ledger that looks like a production group's on an ordinary day, for pictures of the pages."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from include.bookkeeping.records import ActionRecord, DiagnosisRecord, UnitState
from include.campaign.naming import submission_tag
from include.campaign.states import ActionKind, Outcome, Remedy, SubrunState
from tests.ledger_records import (
    campaign_plan,
    exclusion,
    execution,
    fact,
    input_plan,
    job,
    output,
    sample,
    stage_plan,
    units,
    verdict,
)

if TYPE_CHECKING:
    from pathlib import Path

    from include.bookkeeping.ledger import Ledger

TRANCHE = "manual__today"
NAMES = ("cosmics", "minbias", "calibration", "signal", "pileup", "beamgas")
CAMPAIGNS = tuple(f"demo.{name}" for name in NAMES)
SUBRUNS, SLICES, NODES = 200, 6, 24
STAGES = (
    stage_plan("gen"),
    stage_plan("mix", inputs=(input_plan("gen"),)),
    stage_plan("reco", inputs=(input_plan("mix"),)),
)
BAD = range(40)
LOG = """Starting on host Linux wn17.example
Begin processing the 1st record. Run 5101, Event 1
Begin processing the 17th record. Run 5101, Event 17
---- KeyError BEGIN
  no conditions for detector 'ecal' at time 1795766400
---- KeyError END
Art has completed and will exit with status 8.
"""
Place = tuple[str, int, str]
"""Campaign, run, stage."""
TROUBLE: Place = ("minbias", 5101, "gen")


def fill(ledger: Ledger, *, now: float, logs: Path) -> dict[str, str]:
    """Fill the ledger; return the pages to be shown, name → address."""
    began = now - 4 * 3600
    for number, name in enumerate(NAMES):
        first = 5000 + 100 * number
        plan = campaign_plan(name, runs=(first, first + 99), subruns=SUBRUNS, stages=STAGES)
        plan = replace(plan, logs=str(logs), owner=("ann", "ben", "cho")[number % 3])
        ledger.reserve(plan, tranche=TRANCHE, dag_run_id=TRANCHE, slices=SLICES, now=began - number)
        for index in range(SLICES):
            _slice(
                ledger,
                (name, 5000 + 100 * number + index, "gen"),
                done=(index + 1) / SLICES,
                began=began,
                now=now,
            )
    _trouble(ledger, TROUBLE, now=now, log=logs / "job.log")
    for number in range(NODES):
        ledger.record_node_facts(
            [fact(f"wn{number}.example", seen_at=now - 60 * number, sw=4711 - number % 2)]
        )
    ledger.exclude(exclusion("wn17.example", since=now - 1800))
    campaign = "/campaigns/demo.minbias"
    return {
        "campaigns": "/campaigns",
        "campaign": campaign,
        "triage": f"{campaign}/triage",
        "nodes": "/nodes",
        "job": f"{campaign}/job?tag={_tag(TROUBLE)}&process=17",
    }


def _site(process: int) -> str:
    return f"Site {'ABC'[process % 3]}"


def _tag(place: Place) -> str:
    name, run, stage = place
    return submission_tag(dag_id=f"demo.{name}", tranche=TRANCHE, run=run, stage=stage, recovery=0)


def _slice(ledger: Ledger, place: Place, *, done: float, began: float, now: float) -> None:
    """Let a slice's stages be as far as its place in the campaign: finished, running, or not sent."""
    name, run, _ = place
    reached = 3 * (1.15 - done) + NAMES.index(name) * 0.25
    for number, stage in enumerate(each.name for each in STAGES):
        share = min(reached - number, 1.0)
        here = (name, run, stage)
        if share <= 0.02 or (run == TROUBLE[1] and here != TROUBLE):
            return
        start = began + 2880 * number
        _send(ledger, here, share=share, start=start, end=now)
        if share >= 1.0:
            bad = BAD if here == TROUBLE else range(190, 190 + run % 4)
            _check(ledger, here, bad=bad, at=min(start + 4000 + 37 * (run % 7), now - 60))


def _send(ledger: Ledger, place: Place, *, share: float, start: float, end: float) -> None:
    name, run, stage = place
    tag = _tag(place)
    ledger.intend(
        tag=tag, dag_id=f"demo.{name}", tranche=TRANCHE, run=run, stage=stage, recovery=0,
        units=units([(n, n) for n in range(SUBRUNS)]), work_dir="/work", now=start,
    )  # fmt: skip
    cluster = 10 * run + len(stage)
    ledger.record_submitted(tag, clusters=[("ap1", cluster, SUBRUNS)], message="", now=start + 5)
    looks = 30
    samples = []
    for look in range(1, looks + 1):
        completed = int(SUBRUNS * share * look / looks)
        held = 3 if 0.5 < share < 1 and look > 20 and name == "signal" else 0
        running = min(60, SUBRUNS - completed - held)
        idle = SUBRUNS - completed - held - running
        at = start + (end - start) * look / looks
        samples.append(sample(tag, at=at, completed=completed, running=running, idle=idle, held=held))
    ledger.record_progress(samples)


def _check(ledger: Ledger, place: Place, *, bad: range, at: float) -> None:
    _, run, stage = place
    tag, cluster = _tag(place), 10 * run + len(stage)
    ledger.record_jobs(
        tag,
        [
            job(
                n, cluster=cluster, global_job_id=f"ap1#{cluster}.{n}#1", exit_code=8 if n in bad else 0,
                host=f"slot1@wn{n % NODES}.example", site=_site(n), ended_at=at - n, wall_s=3000.0,
                cpu_s=2700.0, started_at=at - 3000 - n, queued_at=at - 3600, memory_mb=900,
            )
            for n in range(SUBRUNS)
        ],
    )  # fmt: skip
    made = [output(stage, n, run=run) for n in range(SUBRUNS) if n not in bad]
    ledger.record_outputs(tag, made, now=at)
    ledger.settle(
        tag,
        verdicts=[verdict(n, Outcome.FAILED if n in bad else Outcome.PASSED) for n in range(SUBRUNS)],
        accept=[(each.execution, each.name) for each in made],
        reject=[],
        states=[
            UnitState(process=n, state=SubrunState.MISSING if n in bad else SubrunState.ACCEPTED)
            for n in range(SUBRUNS)
        ],
        now=at,
    )
    ledger.record_ended(tag, now=at)


def _trouble(ledger: Ledger, place: Place, *, now: float, log: Path) -> None:
    """Say why the jobs of a slice failed alike, and ask a person."""
    name, run, stage = place
    tag, cluster = _tag(place), 10 * run + len(stage)
    log.write_text(LOG, encoding="utf-8")
    ledger.record_executions(
        tag,
        [
            execution(
                n, cluster=cluster, host=f"wn{n % NODES}.example", started_at=now - 1540, ended_at=now - 1500,
                exit_code=8, error="the script exited with 8", log=str(log),
            )
            for n in BAD
        ],
    )  # fmt: skip
    ledger.record_diagnoses(
        tag,
        [
            DiagnosisRecord(
                process=n, first_subrun=n, last_subrun=n, category="code", rule="python-traceback",
                cause="The script asks for conditions that are not there: KeyError 'ecal'.",
                evidence="/logs/5101/job.log:5: no conditions for detector 'ecal' at time 1795766400",
                advice="Mend the script or its conditions, then start a new dag_run.",
                remedy=Remedy.NONE, job_id=f"{10 * run + 3}.{n}@ap1", host=f"wn{n % NODES}.example",
                site=_site(n), exit_code=8, exit_signal=None, at=now - 1500 + n, signature="no conditions",
            )
            for n in BAD
        ],
        now,
    )  # fmt: skip
    ledger.record_action(
        ActionRecord(
            at=now - 900, who="prodsys", kind=ActionKind.ASK, dag_id=f"demo.{name}", tranche=TRANCHE, run=run,
            stage=stage, tag="",
            detail="160 of 200 subruns accepted (80 %), the threshold is 90 %; no recovery helps the rest",
        )
    )  # fmt: skip
