"""Bring a stage of a slice to its threshold: recover by itself, then ask a person."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowFailException, TaskAwaitingInput
from airflow.sdk.execution_time.hitl import upsert_hitl_detail

from include.campaign.states import ActionKind
from include.campaign.wording import spans
from include.crash_points import reached
from include.errors import JobsUnreachable
from prodsys_operators import metrics
from prodsys_operators.admission import AdmissionTrigger, may_send
from prodsys_operators.answers import rounds_of, wait_for_answer
from prodsys_operators.check import StageUnknown, figures, last_try, look, unproven
from prodsys_operators.holds import look_at_holds, remove_held, still_alive
from prodsys_operators.scope import Scope, SliceOperator
from prodsys_operators.sending import intend, send
from prodsys_operators.triggers import SubmissionTrigger
from prodsys_operators.wait import LIMIT

if TYPE_CHECKING:
    from airflow.sdk import Context

    from include.checks.wide import WideVerdict
    from include.recovery.decision import Decision
    from include.recovery.standing import Standing

AGAIN, ACCEPT, STOP = "Recover again", "Accept as is", "Stop"
OPTIONS = (AGAIN, ACCEPT, STOP)
WHO = "prodsys"
JOBS_SHOWN = 20


class RecoverOperator(SliceOperator):
    """Says that nothing needs doing, or submits what is proven missing until the threshold is met.

    All state is in the ledger: whenever it starts, it finishes what was begun. Once the attempts are spent,
    or no recovery would help, it asks a person (a required action in Airflow's UI).
    """

    ui_color = "#f9dcc4"
    tries_again = 6

    def execute(self, context: Context) -> dict[str, int]:
        """Return the stage's figures once it is good, or accepted by a person."""
        return self.carry_on(context)

    def let_in(self, context: Context, event: Any = None) -> dict[str, int]:  # noqa: ARG002
        """Go on once there is room for what was intended."""
        return self.carry_on(context)

    def carry_on(self, context: Context) -> dict[str, int]:
        """Finish what was begun, then decide."""
        with self.scope(context) as scope:
            standing = self.standing(scope)
            if standing.pending:
                self.send(scope, standing.pending)
                self.wait(standing.pending)
            if standing.running:
                self.wait(standing.running)
            if standing.unknown:
                # Held jobs too: somebody may have released or removed them since.
                standing = self.look(context, scope)
            return self.go_on(context, scope, standing)

    def resume(self, context: Context, event: Any = None) -> dict[str, int]:
        """Act on held jobs and wait on, or review what the recovery made and go on."""
        if isinstance(event, dict) and not event.get("over", True):
            trigger = look_at_holds(event, ends_task=False, log=self.log)
            self.defer(trigger=trigger, method_name="resume", timeout=LIMIT)
        with self.scope(context) as scope:
            # After a silence the schedd has answered, which is not to have waited for the jobs.
            waited = not rounds_of(event)
            return self.go_on(context, scope, self.look(context, scope, event, waited=waited))

    def answered(self, context: Context, event: dict[str, Any]) -> dict[str, int]:
        """Do what a person decided."""
        if "error" in event:
            raise AirflowFailException(f"the required action ended without an answer: {event['error']}")
        chosen, user = event["chosen_options"][0], event.get("responded_by_user") or {}
        who = str(user.get("name") or user.get("id") or "unknown user")
        with self.scope(context) as scope:
            standing = self.standing(scope)
            kinds = {AGAIN: ActionKind.RECOVER_AGAIN, ACCEPT: ActionKind.ACCEPT, STOP: ActionKind.STOP}
            numbers = f"{len(standing.accepted)} of {standing.expected} subruns accepted"
            self.note(scope, kinds[chosen], detail=f"{chosen}: {numbers}", who=who)
            self.log.info("%s decided: %s; %s", who, chosen, numbers)
            if chosen == STOP:
                raise AirflowFailException(f"stopped by {who}: {numbers}")
            # The question may be old: what has happened since to held jobs and to storage counts.
            if chosen == AGAIN:
                return self.go_on(context, scope, self.look(context, scope) if standing.unknown else standing)
            try:
                standing = look(self, scope) if standing.unknown else standing
            except JobsUnreachable as error:
                self.log.warning("%s Accepted by what is known without it", error)
            self.own_verdicts(scope)  # the log has what they say; the person has decided
            return figures(standing)

    def standing(self, scope: Scope) -> Standing:
        """Return how the stage stands by the ledger."""
        from include.recovery.standing import standing_of

        found = standing_of(scope.ledger, scope.plan, scope.plan.stage(self.stage), scope.slice)
        self.counts = found.counts
        return found

    def look(self, context: Context, scope: Scope, event: Any = None, *, waited: bool = False) -> Standing:
        """Review the stage; StageUnknown while something is not proven, at the last try a person is asked.

        A person is asked at once where the task has waited until nobody knew the jobs any more. Where one
        wants a recovery already, held jobs are removed, and what is not proven is made anew with the rest.
        Neither is done while jobs of the stage wait or run.
        """
        from include.recovery.decision import Act, Decision
        from include.recovery.past import wish_of

        wish = wish_of(scope.ledger, scope.slice, self.stage)
        try:
            standing = look(self, scope)
            said = unproven(standing)
            if said and not wish and not (last_try(context) or (waited and standing.running)):
                raise StageUnknown(f"{said}; looking again later")
            if said and (tag := still_alive(scope, self.stage)):
                self.log.info("%s has jobs in the queue that may run: waiting for them", tag)
                self.wait(tag)
            if wish and (tag := remove_held(scope, self.stage, wish, log=self.log)):
                self.wait(tag)
        except JobsUnreachable as error:
            standing = self.standing(scope)
            if wish or not standing.good:
                wait_for_answer(self, error, event)
            self.log.warning("%s The stage has enough without it", error)
            return standing
        if said and not wish:
            self.ask(context, scope, standing, Decision(act=Act.ASK, why=f"{said}; {standing.counts}"))
        return standing

    def go_on(self, context: Context, scope: Scope, standing: Standing) -> dict[str, int]:
        """Decide and act; comes back only where nothing needs doing."""
        from include.recovery.decision import Act, decide
        from include.recovery.past import past_of, wish_of

        stage, past = (
            scope.plan.stage(self.stage),
            past_of(scope.ledger, scope.slice, self.stage, now=time.time()),
        )
        wish = wish_of(scope.ledger, scope.slice, self.stage)
        decision = decide(standing, stage, past, forced=wish is not None)
        self.log.info("%s, run %d: %s", self.stage, scope.slice.run, decision.why)
        if decision.act is Act.RECOVER:
            self.recover(context, scope, standing, decision)
        elif decision.act is Act.ASK:
            self.ask(context, scope, standing, decision)
        elif wish is not None:
            detail = f"{AGAIN} by {wish.who}: {decision.why}"
            self.note(scope, ActionKind.ACCEPT, detail=detail)  # else it would count for what comes later
        self.run_own_checks(context, scope, standing)
        return figures(standing)

    def run_own_checks(self, context: Context, scope: Scope, standing: Standing) -> None:
        """Ask a person where a check of the experiment's own speaks against the stage as a whole."""
        from include.campaign.states import Outcome
        from include.recovery.decision import Act, Decision
        from include.recovery.wide_checks import said

        verdicts = self.own_verdicts(scope)
        if wrong := said(verdicts, Outcome.FAILED):
            self.ask(context, scope, standing, Decision(act=Act.ASK, why=wrong))
        if unclear := said(verdicts, Outcome.UNKNOWN):
            raise StageUnknown(f"{self.stage}, run {scope.slice.run}: {unclear}")

    def own_verdicts(self, scope: Scope) -> tuple[WideVerdict, ...]:
        """Run the experiment's own checks of the stage as a whole, and log what they say."""
        from include.recovery.wide_checks import stage_verdicts

        verdicts = stage_verdicts(scope.ledger, scope.plan, scope.plan.stage(self.stage), scope.slice)
        for each in verdicts:
            self.log.info("check %s: %s %s", each.verdict.check, each.verdict.outcome, each.verdict.reason)
            for job in each.jobs[:JOBS_SHOWN]:
                said_of = f"{job.tag} process {job.unit.process}"
                self.log.info("    %s: %s %s", said_of, job.verdict.outcome, job.verdict.reason)
        return verdicts

    def recover(self, context: Context, scope: Scope, standing: Standing, decision: Decision) -> NoReturn:
        """Submit the subruns that the decision names, and wait for them."""
        from include.recovery.decision import Act, Decision, in_words
        from include.recovery.recovered import recovery_units

        number = standing.recoveries + 1
        tag, stage = scope.tag(self.stage, number), scope.plan.stage(self.stage)
        units = recovery_units(
            scope.ledger, scope.plan, stage, scope.slice, subruns=decision.subruns, tag=tag, now=time.time()
        )
        if not units:
            why = f"{decision.why}; but the inputs of none of them are there any more"
            self.ask(context, scope, standing, Decision(act=Act.ASK, why=why))
        self.note(scope, ActionKind.RECOVER, detail=decision.why, tag=tag)
        metrics.count(metrics.Name.RECOVERIES, dag_id=scope.plan.dag_id, stage=self.stage)
        reached("recover.noted")
        intend(scope, self.stage, recovery=number, units=units, changes=decision.changes)
        reached("recover.intended")
        sent = [unit.first_subrun for unit in units]
        self.log.info("subruns %s; %s", spans(sent), in_words(decision.changes))
        if lost := sorted(set(decision.subruns) - set(sent)) if not stage.is_merge else []:
            self.log.warning("subruns %s are left out: their inputs are not there any more", spans(lost))
        self.send(scope, tag)
        self.wait(tag)

    def send(self, scope: Scope, tag: str) -> None:
        """Send what was intended under `tag`, or wait in the triggerer for room."""
        from include.bookkeeping.records import Submission

        intent = scope.ledger.submission(tag)
        if not isinstance(intent, Submission) or intent.recovery == 0:
            raise AirflowFailException(f"{tag} was not submitted; clear the submit task before this one")
        reopened = intend(
            scope, self.stage, recovery=intent.recovery, units=intent.units, changes=intent.changes
        )
        if not may_send(scope, reopened, log=self.log):
            self.defer(trigger=AdmissionTrigger(tag=tag), method_name="let_in", timeout=LIMIT)
        send(scope, reopened, log=self.log)

    def wait(self, tag: str) -> NoReturn:
        """Wait in the triggerer, without a worker."""
        trigger = SubmissionTrigger(tag=tag, ends_task=False)
        self.defer(trigger=trigger, method_name="resume", timeout=LIMIT)
        raise AssertionError

    def ask(self, context: Context, scope: Scope, standing: Standing, decision: Decision) -> NoReturn:
        """Ask a person, with what triage found; or fail, where the spec says so."""
        from include.recovery.story import question

        subject, body = question(scope.ledger, scope.slice, standing, decision)
        self.log.info("%s", body)
        if scope.plan.stage(self.stage).recovery.then == "fail":
            raise AirflowFailException(f"{decision.why}. Mend the cause, then clear the stage's check task")
        self.note(scope, ActionKind.ASK, detail=decision.why)
        upsert_hitl_detail(
            ti_id=context["ti"].id, options=list(OPTIONS), subject=subject, body=body, params={}
        )
        metrics.count(metrics.Name.QUESTIONS, dag_id=scope.plan.dag_id, stage=self.stage)
        self.log.warning("asking a person under Required Actions: %s", subject)
        raise TaskAwaitingInput(method_name="answered", timeout=None)

    def note(self, scope: Scope, kind: ActionKind, *, detail: str, who: str = WHO, tag: str = "") -> None:
        """Write to the ledger what is done."""
        from include.bookkeeping.records import ActionRecord

        scope.ledger.record_action(
            ActionRecord(
                at=time.time(),
                who=who,
                kind=kind,
                dag_id=scope.plan.dag_id,
                tranche=scope.slice.tranche,
                run=scope.slice.run,
                stage=self.stage,
                tag=tag,
                detail=detail,
            )
        )
