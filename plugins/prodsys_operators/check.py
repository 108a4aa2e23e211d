"""Judge one stage of one slice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from include.errors import JobsUnreachable, ProdsysError
from prodsys_operators import metrics
from prodsys_operators.answers import wait_for_answer
from prodsys_operators.scope import Scope, SliceOperator, open_tools

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.recovery.review import Reviewed
    from include.recovery.standing import Standing


class StageUnknown(ProdsysError):
    """There is not enough evidence on some subruns; looking again later may help, so Airflow retries."""


class CheckOperator(SliceOperator):
    """Turns evidence into verdicts and verdicts into subruns, with the causes of what failed."""

    ui_color = "#d8f0dd"
    tries_again = 6
    """Long enough, with the growing delays, for storage to show what a job published."""

    def execute(self, context: Context, event: Any = None) -> dict[str, int]:
        """Return the numbers of subruns; retries while it is not proven how some of them stand.

        What stays so is left to the recover task, which waits for jobs or asks a person.
        """
        with self.scope(context) as scope:
            submission = scope.ledger.submission(scope.tag(self.stage))
            if submission is None or not submission.clusters:
                tag = scope.tag(self.stage)
                raise AirflowFailException(
                    f"{tag} was never submitted; clear the submit task before this one"
                )
            try:
                standing = look(self, scope)
            except JobsUnreachable as error:
                wait_for_answer(self, error, event)
            said = unproven(standing)
            if said and standing.running:
                self.log.info("%s; %s is not over, the recover task waits for it", said, standing.running)
            elif said and last_try(context):
                self.log.warning("%s; the recover task goes on looking, then asks a person", said)
            elif said:
                raise StageUnknown(f"{said}; looking again later")
            return figures(standing)

    def resume(self, context: Context, event: Any = None) -> dict[str, int]:
        """Look again, now that a schedd that was silent has answered."""
        return self.execute(context, event)


def look(task: SliceOperator, scope: Scope) -> Standing:
    """Review all submissions of a task's stage, tell the story, and return how the stage stands."""
    from include.recovery.black_holes import exclude_by_record
    from include.recovery.review import review_stage
    from include.recovery.standing import standing_of
    from include.recovery.story import story_of
    from include.recovery.undecided import undecided

    stage, log = scope.plan.stage(task.stage), task.log
    with open_tools(scope.settings, scope.ledger) as tools:
        reviewed = review_stage(tools, scope.plan, stage, scope.slice)
        standing = standing_of(scope.ledger, scope.plan, stage, scope.slice)
        task.counts = standing.counts
        metrics.checked(scope, stage.name)
        not_known = undecided(scope.ledger, scope.slice, standing)
        lines = story_of(standing, reviewed, scope.ledger.node_facts(), not_known)
        note_categories(scope, reviewed, log=log)
        if any(each.diagnoses for each in reviewed):
            lines += exclude_by_record(scope.ledger, now=tools.clock())
        for line in lines:
            log.info(line)
    return standing


def unproven(standing: Standing) -> str:
    """Say that it is not proven how some subruns stand, held ones aside; empty where it is of all."""
    number = len(standing.unknown - standing.held)
    if not number:
        return ""
    where = f"{standing.stage}, run {standing.run}"
    return f"{where}: {number} subruns are unknown: their jobs or their storage may still show an output"


def last_try(context: Context) -> bool:
    """Whether Airflow will not retry the task."""
    ti = context["ti"]
    return ti.try_number > ti.max_tries


def note_categories(scope: Scope, reviewed: tuple[Reviewed, ...], *, log: Any) -> None:
    """Let logs be searched by what triage found; a log server that is away costs a warning."""
    found = {
        each.submission.tag: {one.failure.first_subrun: one.category for one in each.diagnoses}
        for each in reviewed
        if each.diagnoses
    }
    if not found or not scope.settings.log_server:
        return
    try:
        with scope.settings.open_logs() as logs:
            for tag, categories in found.items():
                logs.categorise(tag, categories)
    except ProdsysError as error:
        log.warning("logs cannot be searched by category: %s", error)


def figures(standing: Standing) -> dict[str, int]:
    """Return a stage's figures as JSON values."""
    return {
        "expected": standing.expected,
        "accepted": len(standing.accepted),
        "missing": len(standing.missing),
        "held": len(standing.held),
        "recoveries": standing.recoveries,
    }
