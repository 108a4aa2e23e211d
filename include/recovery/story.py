"""What a task's log and a required action say of a stage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.bookkeeping.records import StageDiagnosis
from include.recovery.background import background, background_of
from include.recovery.duplicates import CATEGORY as DUPLICATE
from include.recovery.undecided import undecided
from include.triage.classify import to_record
from include.triage.groups import group
from include.triage.story import escaped, markdown, story

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import DiagnosisRecord, NodeFact, Slice, Submission
    from include.campaign.states import JobStatus
    from include.recovery.decision import Decision
    from include.recovery.review import Reviewed
    from include.recovery.standing import Standing

NOTES_SHOWN = 8
OPTIONS_TEXT = """\
| answer | what it does |
|---|---|
| Recover again | removes jobs held now that stay so, then submits all that is missing or unknown once more |
| Accept as is | the slice goes on with what is accepted |
| Stop | this task fails, and the slice with it |
"""


def story_of(
    standing: Standing,
    reviewed: Sequence[Reviewed],
    facts: Sequence[NodeFact] = (),
    not_known: Sequence[str] = (),
) -> list[str]:
    """Return the lines for a check's log: the numbers, the causes of what is still missing, what is odd.

    `facts` are those of all nodes: what failing ones have in common is said. `not_known` are `undecided`'s.
    """
    lines = [headline(standing)]
    lines += [_submission(each) for each in reviewed]
    still_open = standing.missing | standing.held
    known = background(((each.submission, each.judgement.jobs) for each in reviewed), facts)
    groups = group(_open(reviewed, still_open), background=known)
    lines += [*not_known, *(story(groups) if groups or not not_known else ())]
    lines += list(_notes(reviewed))
    return lines


def headline(standing: Standing) -> str:
    """Return a stage's numbers in one line."""
    done, expected = len(standing.accepted), standing.expected
    share = 100 * done / expected if expected else 100.0
    held = f" ({len(standing.held)} of them held)" if standing.held else ""
    late = f", {len(standing.fresh)} not submitted yet (their inputs came late)" if standing.fresh else ""
    return (
        f"{standing.stage}, run {standing.run}: {done} of {expected} subruns accepted ({share:.1f} %); "
        f"{len(standing.missing)} missing, {len(standing.unknown)} unknown{held}{late}; "
        f"the threshold is {100 * standing.threshold:g} %"
    )


def question(ledger: Ledger, item: Slice, standing: Standing, decision: Decision) -> tuple[str, str]:
    """Return the subject and the Markdown body of what a person is asked."""
    stage = standing.stage
    found = ledger.diagnoses(
        dag_id=item.dag_id, tranche=item.tranche, run=item.run, stage=stage, open_only=True
    )
    failed = [each for each in found if each.diagnosis.category != DUPLICATE]
    known = background_of(ledger, [(item.dag_id, item.tranche, item.run)], stage)
    not_known, groups = undecided(ledger, item, standing), group(failed, background=known)
    causes = "".join(f"{_item(line)}\n" for line in not_known)
    if groups or not not_known:
        causes += f"\n{markdown(groups)}"
    subject = f"{stage}, run {item.run}: what next?"
    return subject, f"**{stage}, run {item.run}**: {escaped(decision.why)}.\n\n{causes}\n\n{OPTIONS_TEXT}"


def _item(line: str) -> str:
    """Return one of `undecided`'s lines as Markdown: an item, or what belongs to the one before."""
    text = escaped(line.strip())
    return f"   - {text}" if line.startswith(" ") else f"- **{text}**"


def _submission(reviewed: Reviewed) -> str:
    """Return how one submission went, in a line."""
    judgement, name = reviewed.judgement, "first submission"
    if reviewed.submission.recovery:
        name = f"recovery {reviewed.submission.recovery}"
    states: dict[JobStatus, int] = {}
    for job in judgement.jobs:
        states[job.status] = states.get(job.status, 0) + 1
    jobs = ", ".join(f"{count} {status.name.lower().replace('_', ' ')}" for status, count in states.items())
    clusters = ", ".join(f"{cluster}@{schedd}" for schedd, cluster, _ in reviewed.submission.clusters)
    return (
        f"{name} ({clusters}): {len(judgement.units)} jobs, {jobs or 'no ad'}; "
        f"{len(judgement.executions)} executions reported, {len(judgement.duplicates)} duplicate outputs"
    )


def _open(reviewed: Iterable[Reviewed], still_open: frozenset[int]) -> list[StageDiagnosis]:
    """Return the latest diagnosis of each job whose subruns are still open."""
    latest: dict[int, StageDiagnosis] = {}
    for each in reviewed:
        for diagnosis in each.diagnoses:
            if diagnosis.failure.first_subrun in still_open:
                record = to_record(diagnosis)
                latest[record.first_subrun] = stage_diagnosis(each.submission, record)
    return list(latest.values())


def stage_diagnosis(submission: Submission, record: DiagnosisRecord) -> StageDiagnosis:
    """Return a diagnosis with where it belongs."""
    return StageDiagnosis(
        dag_id=submission.dag_id,
        tranche=submission.tranche,
        run=submission.run,
        stage=submission.stage,
        tag=submission.tag,
        diagnosis=record,
    )


def _notes(reviewed: Iterable[Reviewed]) -> Iterable[str]:
    """Yield what is odd although it is accepted: duplicates with their reason, conflicts in the evidence."""
    for each in reviewed:
        notes = [
            f"subruns {row.first_subrun}..{row.last_subrun}: {row.cause} (job {row.job_id}: {row.evidence})"
            for row in each.duplicates
        ]
        notes += each.judgement.notes
        yield from (f"note: {note}" for note in notes[:NOTES_SHOWN])
        if len(notes) > NOTES_SHOWN:
            yield f"note: and {len(notes) - NOTES_SHOWN} more of the kind; the ledger has them"
