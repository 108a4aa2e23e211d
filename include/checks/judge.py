"""From evidence to judgement: which output of which execution is the one for each unit of a submission."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from include.bookkeeping.records import UnitState, VerdictRecord
from include.campaign.states import JobStatus, Outcome, SubrunState
from include.checks.batches import in_batches
from include.checks.case import VISIBLE_AFTER_S, Case
from include.checks.documents import judge_job
from include.checks.evidence import gather
from include.checks.outputs import OUTPUTS
from include.checks.recording import execution_records, job_records, output_records
from include.checks.registry import checks_of
from include.checks.settled import Settled
from include.checks.usage import USAGE, judge_usage
from include.checks.verdict import Verdict
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from include.batch.pool import JobAd
    from include.bookkeeping.records import ExecutionRecord, JobRecord, OutputRecord, Submission
    from include.campaign.plan import CampaignPlan, StagePlan, UserCheckPlan
    from include.checks.evidence import AreaEvidence, Evidence, Gathered
    from include.checks.registry import Check
    from include.checks.reports import Report

_BATCH = 32
"""Units that a thread judges in a go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitJudgement:
    """What is held of one unit of a submission."""

    process: int
    first_subrun: int
    last_subrun: int
    state: SubrunState
    verdicts: tuple[Verdict, ...]
    """Of the accepted execution, else of the one that tells most; the last one decides."""
    job_id: str
    """An example for people; empty where no job is known."""
    held: bool
    """Whether it is unknown because its job is held now: once released, it may still publish."""
    accept: tuple[tuple[str, str], ...]
    """(execution, output name)."""
    duplicates: tuple[tuple[str, str], ...]
    reject: tuple[tuple[str, str], ...]
    counted: tuple[tuple[tuple[str, str], int], ...]
    """((execution, output name), events) of the files in which a check counted them."""

    @property
    def subruns(self) -> int:
        """How many subruns it covers."""
        return self.last_subrun - self.first_subrun + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a check found of one submission: records for the ledger, and what to do with each output."""

    tag: str
    run: int
    verdicts: tuple[VerdictRecord, ...]
    jobs: tuple[JobRecord, ...]
    executions: tuple[ExecutionRecord, ...]
    outputs: tuple[OutputRecord, ...]
    """Duplicates as such, the others as candidates; `accept` and `reject` say what becomes of those."""
    accept: tuple[tuple[str, str], ...]
    """(execution, output name), all named outputs of a unit from one execution."""
    duplicates: tuple[tuple[str, str], ...]
    """Verified, but another execution's was accepted."""
    reject: tuple[tuple[str, str], ...]
    """A check failed on their execution."""
    units: tuple[UnitJudgement, ...]
    gathered: Gathered
    """What was judged; one process a unit, in the same order."""
    notes: tuple[str, ...]
    """One sentence on each thing found that fits no unit."""

    @property
    def states(self) -> tuple[UnitState, ...]:
        """How each unit stands, for the ledger."""
        return tuple(UnitState(process=unit.process, state=unit.state, held=unit.held) for unit in self.units)


def judge(  # noqa: PLR0913  each is evidence of another origin
    plan: CampaignPlan,
    stage: StagePlan,
    submission: Submission,
    *,
    ads: Iterable[JobAd],
    area: AreaEvidence,
    now: float,
    accepted: Sequence[OutputRecord] = (),
    sources: Sequence[OutputRecord] = (),
    known: Sequence[JobRecord] = (),
    workers: int = 4,
) -> Judgement:
    """Judge every unit of a submission.

    `accepted` are the outputs that the ledger has accepted before for this stage and run, removed ones too;
    `sources` are the accepted outputs that a merge stage merges; `known` are the jobs as the ledger has them,
    evidence where no ad is left. `now` is in epoch seconds.
    """
    gathered = gather(submission, ads=ads, area=area, known=known)
    judging = _Judging(
        plan=plan,
        stage=stage,
        tag=submission.tag,
        checks=tuple(check for check in checks_of(stage) if check.judge is not None),
        own=tuple(check for check in stage.user_checks if check.scope == "job"),
        settled=Settled(accepted, stage=stage, run=submission.run),
        blank=_blank_case(stage, submission, gathered, area, sources, now=now),
    )
    units = judging.all(gathered.processes, workers=workers)
    if USAGE in stage.checks:
        units = _with_usage(units, gathered, judging.blank)
    duplicates = {key for unit in units for key in unit.duplicates}
    return Judgement(
        tag=submission.tag,
        run=submission.run,
        verdicts=tuple(_record(unit, verdict) for unit in units for verdict in unit.verdicts),
        jobs=job_records(gathered),
        executions=execution_records(submission, area),
        outputs=output_records(
            stage,
            area,
            duplicates=duplicates,
            counted=dict(item for unit in units for item in unit.counted),
        ),
        accept=tuple(key for unit in units for key in unit.accept),
        duplicates=tuple(sorted(duplicates)),
        reject=tuple(key for unit in units for key in unit.reject),
        units=units,
        gathered=gathered,
        notes=_notes(gathered, plan),
    )


def _with_usage(
    units: tuple[UnitJudgement, ...], gathered: Gathered, blank: Case
) -> tuple[UnitJudgement, ...]:
    """Return the units, those of accepted jobs that took unusually much or little with a note."""
    good = [place for place, unit in enumerate(units) if unit.state is SubrunState.ACCEPTED]
    ads = [gathered.processes[place].ad for place in good]
    found = judge_usage(
        [ad.wall_s if ad is not None else None for ad in ads],
        [ad.memory_mb if ad is not None else None for ad in ads],
        blank.settings(USAGE),
    )
    noted = {good[place]: verdict for place, verdict in found.items()}
    return tuple(
        replace(unit, verdicts=(*unit.verdicts, noted[place])) if place in noted else unit
        for place, unit in enumerate(units)
    )


def _blank_case(
    stage: StagePlan,
    submission: Submission,
    gathered: Gathered,
    area: AreaEvidence,
    sources: Sequence[OutputRecord],
    *,
    now: float,
) -> Case:
    """Return a case with what is the same for every unit of the submission."""
    since = datetime.fromtimestamp(submission.submitted_at or submission.intended_at, tz=UTC)
    first = gathered.processes[0] if gathered.processes else None
    if first is None:
        msg = f"submission {submission.tag} has no units, so there is nothing to judge"
        raise LedgerError(msg)
    return Case(
        stage=stage,
        run=submission.run,
        unit=first.unit,
        evidence=first,
        report=None,
        sources={record.path: record for record in sources},
        logs=area.logs,
        listed=area.listed,
        all_ended=gathered.all_ended
        and (gathered.last_end is None or now - gathered.last_end >= VISIBLE_AFTER_S),
        now=now,
        since=f"{since:%Y-%m-%d %H:%M:%S} UTC",
    )


def _record(unit: UnitJudgement, verdict: Verdict) -> VerdictRecord:
    return VerdictRecord(
        process=unit.process,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        check=verdict.check,
        outcome=verdict.outcome,
        reason=verdict.reason,
        evidence=verdict.evidence,
    )


def _notes(gathered: Gathered, plan: CampaignPlan) -> tuple[str, ...]:
    notes = list(gathered.notes)
    if gathered.unplaced:
        notes.append(
            f"{plan.dag_id}: {len(gathered.unplaced)} jobs cannot be told apart by process, "
            f"{gathered.unplaced[0].job_id} first: judged by their reports alone"
        )
    return tuple(notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trial:
    """One execution and what the checks said of it, up to the first that did not pass."""

    report: Report
    verdicts: tuple[Verdict, ...]

    @property
    def outcome(self) -> Outcome:
        return self.verdicts[-1].outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judging:
    """What it takes to judge one unit after the other."""

    plan: CampaignPlan
    stage: StagePlan
    tag: str
    checks: tuple[Check, ...]
    own: tuple[UserCheckPlan, ...]
    """The experiment's own checks of scope job."""
    settled: Settled
    blank: Case

    def all(self, processes: Sequence[Evidence], *, workers: int) -> tuple[UnitJudgement, ...]:
        """Judge all units, in threads where the storage or an own check makes one wait."""
        return tuple(in_batches(self.one, processes, size=1 if self.own else _BATCH, workers=workers))

    def one(self, evidence: Evidence) -> UnitJudgement:
        """Judge one unit."""
        case = replace(self.blank, unit=evidence.unit, evidence=evidence)
        holder = self.settled.holder(evidence.unit)
        trials = [
            self._try(case, report)
            for report in evidence.reports
            if holder is None or report.execution != holder
        ]
        good = [trial for trial in trials if trial.outcome is Outcome.PASSED]
        if holder is not None:
            verdict = Verdict(
                check=OUTPUTS,
                outcome=Outcome.PASSED,
                reason=f"accepted before: execution {holder}",
            )
            return self._unit(evidence, SubrunState.ACCEPTED, (verdict,), chosen=None, trials=trials)
        blocked = self.settled.blocker(evidence.unit, {trial.report.execution for trial in good})
        if good and not blocked:
            preferred = self.settled.partly(evidence.unit)
            chosen = next((trial for trial in good if trial.report.execution in preferred), good[0])
            return self._unit(evidence, SubrunState.ACCEPTED, chosen.verdicts, chosen=chosen, trials=trials)
        if good:
            verdict = Verdict(
                check=OUTPUTS, outcome=Outcome.FAILED, reason=blocked, evidence=good[0].report.file
            )
            verdicts = (*good[0].verdicts[:1], verdict)
            return self._unit(evidence, SubrunState.MISSING, verdicts, chosen=None, trials=trials)
        return self._not_good(case, trials)

    def _try(self, case: Case, report: Report) -> _Trial:
        """Judge one execution."""
        return _Trial(report=report, verdicts=self._run(replace(case, report=report)))

    def _run(self, case: Case) -> tuple[Verdict, ...]:
        """Run the checks; what comes after the first that does not pass would tell nothing new."""
        verdicts: list[Verdict] = []
        for judge_one in self._steps(case):
            verdicts.append(judge_one(case))
            if verdicts[-1].outcome is not Outcome.PASSED:
                break
        return tuple(verdicts)

    def _steps(self, case: Case) -> Iterator[Callable[[Case], Verdict]]:
        """Yield the checks, the experiment's own last: those are asked about outputs that are good so far."""
        for check in self.checks:
            if check.judge is not None:
                yield check.judge
        if case.report is not None:
            yield from (partial(judge_job, self.plan, check, tag=self.tag) for check in self.own)

    def _not_good(self, case: Case, trials: Sequence[_Trial]) -> UnitJudgement:
        """Judge a unit of which no execution is good."""
        undecided = [trial for trial in trials if trial.outcome is Outcome.UNKNOWN]
        verdicts = (undecided or trials)[-1].verdicts if trials else self._run(case)
        last = verdicts[-1]
        if last.outcome is Outcome.FAILED and case.evidence.alive:
            ad = case.evidence.ad
            reason = f"not ended: its job is {ad.status.name.lower() if ad else '?'} after: {last.reason}"
            verdicts = (*verdicts[:-1], replace(last, outcome=Outcome.UNKNOWN, reason=reason))
        elif last.outcome is Outcome.FAILED and (open_end := _open_end(case, trials)):
            reason, where = open_end
            verdict = replace(last, outcome=Outcome.UNKNOWN, reason=f"{reason}; before: {last.reason}")
            verdicts = (*verdicts[:-1], replace(verdict, evidence=where or last.evidence))
        # A held job failed so far, but once released it may still publish: nothing is proven.
        proven = verdicts[-1].outcome is Outcome.FAILED and not case.evidence.may_publish
        state = SubrunState.MISSING if proven else SubrunState.UNKNOWN
        return self._unit(case.evidence, state, verdicts, chosen=None, trials=trials)

    def _unit(
        self,
        evidence: Evidence,
        state: SubrunState,
        verdicts: tuple[Verdict, ...],
        *,
        chosen: _Trial | None,
        trials: Sequence[_Trial],
    ) -> UnitJudgement:
        return UnitJudgement(
            process=evidence.process,
            first_subrun=evidence.unit.first_subrun,
            last_subrun=evidence.unit.last_subrun,
            state=state,
            verdicts=verdicts,
            job_id=_job_id(evidence),
            held=state is SubrunState.UNKNOWN and evidence.held,
            accept=self._keys([chosen] if chosen else []),
            duplicates=self._keys(
                trial for trial in trials if trial is not chosen and trial.outcome is Outcome.PASSED
            ),
            reject=self._keys(trial for trial in trials if trial.outcome is Outcome.FAILED),
            counted=tuple(
                ((trial.report.execution, name), events)
                for trial in trials
                for verdict in trial.verdicts
                for name, events in verdict.counted
            ),
        )

    def _keys(self, trials: Iterable[_Trial]) -> tuple[tuple[str, str], ...]:
        planned = {output.name for output in self.stage.outputs}
        return tuple(
            (trial.report.execution, name)
            for trial in trials
            for name in dict.fromkeys(output.name for output in trial.report.outputs)
            if name in planned
        )


def _open_end(case: Case, trials: Sequence[_Trial]) -> tuple[str, str] | None:
    """Say why a failure proves nothing, with evidence: an execution may have ended well all the same."""
    ad = case.evidence.ad
    for item in case.evidence.unreadable:
        if item.storage:
            return f"the storage does not give what an execution wrote: {item.reason}", item.folder
    if not trials:
        return None  # the checks themselves have seen to it
    if ad is None and not case.all_ended:
        return "neither queue nor history knows its job, which may have begun anew", ""
    if ad is not None and ad.status is JobStatus.UNKNOWN:
        return "nobody knows its job any more, which may have begun anew", f"job {ad.job_id}"
    ended_well = ad is not None and ad.status is JobStatus.COMPLETED and ad.exit_code == 0
    if ended_well and not any(trial.report.good for trial in trials) and case.lags():
        return "its ad says exit code 0, but no such execution is there yet", ""
    return None


def _job_id(evidence: Evidence) -> str:
    if evidence.ad is not None:
        return evidence.ad.job_id
    if evidence.reports:
        report = evidence.reports[-1]
        return f"{report.cluster}.{report.process}@{report.schedd or '?'}"
    return ""
