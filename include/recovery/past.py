"""What the ledger remembers of a stage of a slice: causes, resources, nodes."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from include.bookkeeping.records import AS_PLANNED
from include.campaign.states import ActionKind
from include.recovery.decision import Past

if TYPE_CHECKING:
    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import ActionRecord, DiagnosisRecord, Slice


RECENT_S = 7 * 86_400.0
"""Nodes that were seen so lately count as being there."""


def past_of(ledger: Ledger, item: Slice, stage: str, *, now: float) -> Past:
    """Return what a decision on the stage needs to know beside its standing."""
    sent = ledger.submissions(item.dag_id, item.tranche, run=item.run, stage=stage)
    order = {submission.tag: submission.recovery for submission in sent}
    found = ledger.diagnoses(dag_id=item.dag_id, tranche=item.tranche, run=item.run, stage=stage)
    diagnoses: dict[int, list[DiagnosisRecord]] = defaultdict(list)
    for each in sorted(found, key=lambda each: order.get(each.tag, 0)):
        for subrun in range(each.diagnosis.first_subrun, each.diagnosis.last_subrun + 1):
            diagnoses[subrun].append(each.diagnosis)
    jobs = [job for submission in sent for job in ledger.jobs(submission.tag)]
    facts = [fact for fact in ledger.node_facts() if fact.seen_at >= now - RECENT_S]
    last = max(sent, key=lambda submission: submission.recovery, default=None)
    return Past(
        diagnoses=diagnoses,
        last=AS_PLANNED if last is None else last.changes,
        used_memory_mb=max((job.memory_mb for job in jobs if job.memory_mb is not None), default=None),
        nodes=len({job.host.rpartition("@")[2] for job in jobs if job.host} | {fact.host for fact in facts}),
        sites=len({job.site for job in jobs if job.site} | {fact.site for fact in facts if fact.site}),
    )


def wish_of(ledger: Ledger, item: Slice, stage: str) -> ActionRecord | None:
    """Return a person's decision for one more recovery of the stage that nothing has come of yet; None: none.

    A recovery, a later answer, and a new question end it. A decision to recover is noted before the intent
    is: without an intent it came to nothing.
    """
    sent = {each.tag for each in ledger.submissions(item.dag_id, item.tranche, run=item.run, stage=stage)}
    last = None
    for act in ledger.decisions(item.dag_id, item.tranche, run=item.run, stage=stage):
        if act.kind is not ActionKind.RECOVER or act.tag in sent:
            last = act
    return last if last is not None and last.kind is ActionKind.RECOVER_AGAIN else None
