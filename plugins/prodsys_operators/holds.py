"""Act on a submission's held jobs, and wait on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from prodsys_operators import metrics
from prodsys_operators.scope import open_ledger, open_tools
from prodsys_operators.triggers import SubmissionTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.bookkeeping.records import ActionRecord, Submission
    from include.recovery.review import Tools
    from prodsys_operators.scope import Scope


def look_at_holds(event: Mapping[str, Any], *, ends_task: bool, log: Any) -> SubmissionTrigger:
    """Release, remove or leave held jobs by their class; return the trigger that waits on.

    `event` is that of the SubmissionTrigger that came back for them.
    """
    with open_ledger() as (settings, ledger), open_tools(settings, ledger) as tools:
        return _look(tools, event["tag"], event.get("silent", {}), ends_task=ends_task, log=log)


def _look(
    tools: Tools, tag: str, looks: Mapping[str, int], *, ends_task: bool, log: Any
) -> SubmissionTrigger:
    from include.recovery.holds import handle_holds

    submission = tools.ledger.submission(tag)
    if submission is None:
        raise AirflowFailException(f"{tag!r} is not in the ledger; clear the submit task before this one")
    stage = tools.ledger.plan_of(submission.dag_id, submission.tranche).stage(submission.stage)
    handled = handle_holds(tools, stage, submission, looks=looks)
    for line in handled.lines:
        log.info(line)
    log.info(
        "%s: %d held jobs released, %d removed, %d left as they are; waiting on",
        tag,
        handled.released,
        handled.removed,
        handled.left,
    )
    tags = {"dag_id": submission.dag_id, "stage": submission.stage}
    metrics.count(metrics.Name.HOLDS_RELEASED, handled.released, **tags)
    metrics.count(metrics.Name.HOLDS_REMOVED, handled.removed, **tags)
    metrics.count(metrics.Name.HOLDS_LEFT, handled.left, **tags)
    return SubmissionTrigger(
        tag=tag,
        ends_task=ends_task,
        known=dict(handled.left_by),
        again_s=dict(handled.again_s),
        silent={name: looks.get(name, 0) for name in handled.silent},
    )


def remove_held(scope: Scope, stage: str, wish: ActionRecord, *, log: Any) -> str:
    """Remove the stage's jobs that were held at the wish; return the tag of the last submission with some."""
    from include.recovery.holds import remove_all_held

    found, plan_stage = "", scope.plan.stage(stage)
    with open_tools(scope.settings, scope.ledger) as tools:
        for submission in _under_way(scope, stage):
            removed = remove_all_held(tools, plan_stage, submission, who=wish.who, decided_at=wish.at)
            if removed:
                found = submission.tag
                log.info("%s: %d held jobs removed", submission.tag, removed)
    return found


def still_alive(scope: Scope, stage: str) -> str:
    """Return the tag of a submission of the stage that has jobs which wait or run; empty where none has."""
    from include.checks.evidence import ALIVE
    from include.recovery.review import ads_of

    with open_tools(scope.settings, scope.ledger) as tools:
        for submission in _under_way(scope, stage):
            ads = ads_of(tools.pool, submission)
            if any(ad.status in ALIVE and ad.tag == submission.tag for ad in ads):
                return submission.tag
    return ""


def _under_way(scope: Scope, stage: str) -> list[Submission]:
    """Return the stage's submissions that were sent and are not over: only these may have jobs in a queue."""
    from include.campaign.states import SubmissionState

    sent = scope.ledger.submissions(scope.plan.dag_id, scope.slice.tranche, run=scope.slice.run, stage=stage)
    return [each for each in sent if each.clusters and each.state is not SubmissionState.ENDED]
