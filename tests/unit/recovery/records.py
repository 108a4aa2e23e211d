"""Records for the tests of recovery."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from include.bookkeeping.records import DiagnosisRecord, StageUnit
from include.campaign.plan import OutputPlan, RecoveryPlan, ResourcesPlan, StagePlan
from include.campaign.states import Remedy, SubmissionState, SubrunState
from include.errors import AirflowUnreachable

if TYPE_CHECKING:
    from include.recovery.orphans import AirflowRun

MISSING, UNKNOWN, ACCEPTED = SubrunState.MISSING, SubrunState.UNKNOWN, SubrunState.ACCEPTED
SENT = SubmissionState.ENDED


def stage(threshold: float = 0.9, **recovery: Any) -> StagePlan:
    """Return a stage with one output and 1000 MB, 1000 KB, 1000 s a job."""
    return StagePlan(
        name="gen",
        parents=(),
        script="/s/gen.sh",
        arguments=(),
        files=(),
        environment=(),
        resources=ResourcesPlan(memory_mb=1000, disk_kb=1000, cpus=1, lifetime_s=1000),
        inputs=(),
        outputs=(
            OutputPlan(name="default", file_name="{run}_{subrun}", tree=None, events=None, keep="forever"),
        ),
        checks=("exit",),
        success_threshold=threshold,
        hold_limit_s=60,
        unknown_limit_s=60,
        jobsub_options=(),
        merge=None,
        recovery=RecoveryPlan(**recovery),
    )


def unit(subrun: int, state: SubrunState | None, recovery: int = 0, **more: Any) -> StageUnit:
    """Return one job's unit."""
    made = StageUnit(
        tag=f"t/recovery-{recovery}",
        recovery=recovery,
        process=subrun,
        first_subrun=subrun,
        last_subrun=subrun,
        state=state,
        held=False,
        submission=SENT,
    )
    return replace(made, **more)


def diagnosis(subrun: int, remedy: Remedy, **more: Any) -> DiagnosisRecord:
    """Return why a subrun failed."""
    made = DiagnosisRecord(
        process=subrun,
        first_subrun=subrun,
        last_subrun=subrun,
        category="memory",
        rule="r",
        cause="it did",
        evidence="/l:1: x",
        advice="look",
        remedy=remedy,
        job_id=f"1.{subrun}@ap1",
        host=f"wn{subrun % 4}",
        site="S",
        exit_code=1,
        exit_signal=None,
        at=1.0,
        signature="x",
    )
    return replace(made, **more)


WAITING = {("slice.gen.submit", 0): "success", ("slice.gen.wait", 0): "deferred", ("report", -1): None}
ENDED = {("slice.gen.submit", 0): "success", ("slice.gen.wait", 0): "failed", ("report", -1): "failed"}


@dataclass
class Runs:
    """Airflow's dag_runs, all alike; without `run` it gives no answer."""

    run: AirflowRun | None
    asked: list[str] = field(default_factory=list)

    def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
        self.asked.append(f"{dag_id} {run_id} {tranche}")
        if self.run is None:
            raise AirflowUnreachable("no answer from Airflow at http://127.0.0.1:1: refused")
        return self.run
