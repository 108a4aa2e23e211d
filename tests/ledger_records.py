"""Plans and records for tests of the ledger."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from include.bookkeeping.records import (
    ActionRecord,
    DiagnosisRecord,
    Exclusion,
    ExecutionRecord,
    JobRecord,
    MergeGroup,
    NodeFact,
    OutputRecord,
    ProgressSample,
    Unit,
    VerdictRecord,
)
from include.campaign.naming import submission_tag
from include.campaign.plan import CampaignPlan, InputPlan, MergePlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.states import ActionKind, JobStatus, Outcome, OutputState, Remedy

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger

NOW = 1_800_000_000.0
TRANCHE = "manual__1"


def output_plan(name: str = "default", keep: str = "until-merged") -> OutputPlan:
    """Return an output that is removed once merged."""
    return OutputPlan(name=name, file_name=f"{name}.root", tree=None, events=None, keep=keep)  # type: ignore[arg-type]


def input_plan(stage: str, output: str = "default", select: str = "same") -> InputPlan:
    """Return an input from a parent stage."""
    return InputPlan(name=stage, stage=stage, output=output, select=select, files=(), per_job=1)  # type: ignore[arg-type]


def stage_plan(
    name: str,
    *,
    inputs: tuple[InputPlan, ...] = (),
    outputs: tuple[OutputPlan, ...] | None = None,
    merge_of: str | None = None,
) -> StagePlan:
    """Return a stage; with `merge_of`, one that merges that stage's default output."""
    merge = (
        MergePlan(of_stage=merge_of, of_output="default", target_bytes=10**9, method="hadd")
        if merge_of
        else None
    )
    if merge_of:
        inputs = (*inputs, input_plan(merge_of, select="all"))  # as the compiler writes it
    return StagePlan(
        name=name,
        parents=tuple(each.stage for each in inputs if each.stage),
        script="" if merge_of else "/bin/true",
        arguments=(),
        files=(),
        environment=(),
        resources=ResourcesPlan(memory_mb=500, disk_kb=1000, cpus=1, lifetime_s=600),
        inputs=inputs,
        outputs=outputs or (output_plan(keep="forever" if merge_of else "until-merged"),),
        checks=("exit",),
        success_threshold=0.9,
        hold_limit_s=3600,
        unknown_limit_s=1800,
        jobsub_options=(),
        merge=merge,
    )


CHAIN = (
    stage_plan("gen"),
    stage_plan("reco", inputs=(input_plan("gen"),)),
    stage_plan("merge_reco", merge_of="reco"),
)


def campaign_plan(
    campaign: str = "z",
    *,
    experiment: str = "demo",
    runs: tuple[int, int] = (1000, 1999),
    subruns: int = 4,
    stages: tuple[StagePlan, ...] = CHAIN,
) -> CampaignPlan:
    """Return a plan of gen → reco → merge_reco."""
    return CampaignPlan(
        version=1,
        experiment=experiment,
        campaign=campaign,
        description="",
        owner="demo",
        phase="commissioning",
        tags=(),
        schedule=None,
        group="demo",
        role=None,
        first_run=runs[0],
        last_run=runs[1],
        slices=3,
        subruns=subruns,
        first_subrun=0,
        stages=stages,
        outstage="/out",
        logs="/logs",
        cleanup_script=None,
        spec_file=f"campaign_specs/{experiment}/{campaign}.yaml",
        spec_sha256="0" * 64,
    )


def tag_of(stage: str, *, run: int = 1000, recovery: int = 0, dag_id: str = "demo.z") -> str:
    """Return the tag of a submission of the test campaign."""
    return submission_tag(dag_id=dag_id, tranche=TRANCHE, run=run, stage=stage, recovery=recovery)


def units(subruns: list[tuple[int, int]]) -> tuple[Unit, ...]:
    """Return one unit for each range of subruns."""
    return tuple(
        Unit(process=process, first_subrun=first, last_subrun=last, inputs=(("gen", (f"/in/{first}",)),))
        for process, (first, last) in enumerate(subruns)
    )


def intend(
    ledger: Ledger,
    stage: str,
    *,
    run: int = 1000,
    recovery: int = 0,
    ranges: list[tuple[int, int]] | None = None,
    reads: tuple[str, ...] | None = None,
    now: float = NOW,
) -> str:
    """Record an intent, whose jobs all read `reads` where it is given; return its tag."""
    tag = tag_of(stage, run=run, recovery=recovery)
    ledger.intend(
        tag=tag,
        dag_id="demo.z",
        tranche=TRANCHE,
        run=run,
        stage=stage,
        recovery=recovery,
        units=tuple(
            unit if reads is None else replace(unit, inputs=(("all", reads),))
            for unit in units(ranges or [(n, n) for n in range(4)])
        ),
        work_dir=f"/work dir/{stage}",
        now=now,
    )
    return tag


def job(process: int, **changes: object) -> JobRecord:
    """Return a completed job."""
    record = JobRecord(
        schedd="ap1",
        cluster=7,
        process=process,
        unit=process,
        global_job_id=f"ap1#7.{process}#1",
        status=JobStatus.COMPLETED,
        exit_code=0,
        exit_signal=None,
        hold_code=None,
        hold_subcode=None,
        reason="",
        host="wn1",
        site=None,
        starts=1,
        queued_at=NOW,
        started_at=NOW + 1,
        ended_at=NOW + 2.5,
        wall_s=1.5,
        cpu_s=1.25,
        memory_mb=100,
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def execution(process: int, start: int = 1, **changes: object) -> ExecutionRecord:
    """Return an execution that went well."""
    record = ExecutionRecord(
        execution=f"7.{process}.{start}-{process:08x}",
        schedd="ap1",
        cluster=7,
        process=process,
        host="wn1",
        site=None,
        started_at=NOW + start,
        ended_at=NOW + start + 1,
        exit_code=0,
        exit_signal=None,
        error="",
        log=f"/logs/7.{process}.{start}/job.log",
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def output(
    stage: str, first: int, last: int | None = None, *, start: int = 1, name: str = "default", run: int = 1000
) -> OutputRecord:
    """Return a candidate output of subruns first..last."""
    return OutputRecord(
        execution=f"7.{first}.{start}-{first:08x}",
        stage=stage,
        name=name,
        run=run,
        first_subrun=first,
        last_subrun=first if last is None else last,
        path=f"/out/{stage}/{run}/7.{first}.{start}/{name}.root",
        size=1000 + first,
        sha256="a" * 64,
        adler32="0badf00d",
        events=10,
        state=OutputState.CANDIDATE,
    )


def verdict(
    process: int, outcome: Outcome = Outcome.PASSED, *, check: str = "exit", subrun: int | None = None
) -> VerdictRecord:
    """Return a verdict on one process."""
    at = process if subrun is None else subrun
    return VerdictRecord(
        process=process,
        first_subrun=at,
        last_subrun=at,
        check=check,
        outcome=outcome,
        reason="" if outcome is Outcome.PASSED else "it exited with 1",
        evidence="job.log:3",
    )


def accept(ledger: Ledger, tag: str, outputs: list[OutputRecord], *, now: float = NOW) -> None:
    """Record outputs and accept them all."""
    ledger.record_outputs(tag, outputs, now=now)
    ledger.settle(
        tag, verdicts=[], accept=[(each.execution, each.name) for each in outputs], reject=[], now=now
    )


def diagnosis(process: int, **changes: object) -> DiagnosisRecord:
    """Return a diagnosis of a process that made the subrun of its number."""
    record = DiagnosisRecord(
        process=process,
        first_subrun=process,
        last_subrun=process,
        category="memory",
        rule="killed-for-memory",
        cause="It used more memory than it asked for.",
        evidence="ad: MemoryUsage = 900",
        advice="Ask for more memory.",
        remedy=Remedy.MORE_MEMORY,
        job_id=f"7.{process}@ap1",
        host="wn1",
        site=None,
        exit_code=None,
        exit_signal=9,
        at=NOW + process,
        signature="",
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def action(kind: ActionKind, at: float = NOW, **changes: object) -> ActionRecord:
    """Return something that prodsys did about gen of run 1000."""
    record = ActionRecord(
        at=at,
        who="prodsys",
        kind=kind,
        dag_id="demo.z",
        tranche=TRANCHE,
        run=1000,
        stage="gen",
        tag=tag_of("gen"),
        detail="It did so.",
    )
    return replace(record, **changes)  # type: ignore[arg-type]


def exclusion(
    name: str, since: float = NOW, *, hours: float = 24, kind: str = "node", by: str = "prodsys"
) -> Exclusion:
    """Return an exclusion of some hours."""
    return Exclusion(
        kind=kind, name=name, since=since, until=since + hours * 3600, by=by, reason="All 6 of 6 jobs failed."
    )


def fact(host: str, seen_at: float = NOW, **revisions: int | None) -> NodeFact:
    """Return what a probe said, with CVMFS revisions by repository."""
    return NodeFact(
        host=host,
        site="FNAL",
        seen_at=seen_at,
        facts=(("kernel", "6.1"), ("scratch_free_mb", "12000")),
        cvmfs=tuple(revisions.items()),
    )


def sample(tag: str, at: float, **counts: int) -> ProgressSample:
    """Return a progress sample; counts that are not given are 0."""
    states = {"idle": 0, "running": 0, "held": 0, "completed": 0, "removed": 0, "unknown": 0}
    return ProgressSample(tag=tag, at=at, **{**states, **counts})


def group(process: int, first: int, last: int) -> MergeGroup:
    """Return a merge group."""
    paths = tuple(f"/out/reco/{n}" for n in range(first, last + 1))
    return MergeGroup(
        process=process, first_subrun=first, last_subrun=last, inputs=paths, bytes=1000 * len(paths)
    )
