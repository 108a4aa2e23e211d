"""`prodsys check`: run checks by hand, on a past submission or on a folder of logs. Nothing is recorded."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path  # noqa: TC003  typer resolves it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.campaign.states import Outcome, SubrunState
from include.campaign.wording import did_you_mean
from include.errors import PoolError, ProdsysError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import OutputRecord, Submission
    from include.campaign.plan import CampaignPlan, StagePlan
    from include.checks.verdict import Verdict
    from include.checks.wide import WideVerdict

SHOWN = 20
"""Jobs, or logs, that are shown in a text."""
SOMETHING_WRONG = 1
_TAGGED = "/recovery-"
"""Part of every tag, and of no campaign's name."""

LedgerUrl = Annotated[str | None, typer.Option("--ledger", envvar="PRODSYS_LEDGER", help="The ledger's URL.")]


def check(  # noqa: PLR0913  each is an option
    what: Annotated[
        str | None,
        typer.Argument(metavar="[TAG | EXPERIMENT.NAME]", help="A submission's tag, or a campaign."),
    ] = None,
    *,
    ledger: LedgerUrl = None,
    stage: Annotated[str | None, typer.Option(help="With a campaign: the stage.")] = None,
    run: Annotated[int | None, typer.Option(help="With a campaign: the run.")] = None,
    dag_run: Annotated[
        str | None, typer.Option(help="With a campaign: run its checks of scope campaign on this dag_run.")
    ] = None,
    name: Annotated[str | None, typer.Option("--check", help="Run this check only.", metavar="NAME")] = None,
    pool: Annotated[bool, typer.Option(help="Ask the pool; else take what the ledger knows.")] = True,
    folder: Annotated[Path | None, typer.Option(help="Say of each log in a folder how it ended.")] = None,
    script: Annotated[
        Path | None, typer.Option(help="With --folder: a check of your own, run on each log of a good job.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Check a past submission again, or any folder of logs, and record nothing.

    Exit code 0: all is good; 1: something is not.
    """
    if (what is None) == (folder is None):
        raise typer.BadParameter("give either a submission (its tag, or a campaign), or --folder")
    if folder is not None:
        from include.commands.check_logs import FolderCheck, check_folder

        if (stage, run, dag_run) != (None, None, None):
            raise typer.BadParameter("--stage, --run and --dag-run are for campaigns, not for --folder")
        good = check_folder(folder, FolderCheck.of(name, script), as_json=as_json)
    elif script is not None:
        raise typer.BadParameter("--script is for --folder; a past submission has the checks of its spec")
    else:
        place = (stage, run, dag_run)
        good = _check_past(str(what), ledger, place, name=name, pool=pool, as_json=as_json)
    if not good:
        raise typer.Exit(SOMETHING_WRONG)


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(check)


def _check_past(
    what: str,
    ledger: str | None,
    place: tuple[str | None, int | None, str | None],
    *,
    name: str | None,
    pool: bool,
    as_json: bool,
) -> bool:
    """Check what the arguments name; return whether all is good."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    if ledger is None:
        raise typer.BadParameter("give --ledger, or set PRODSYS_LEDGER")
    try:
        with Ledger(ledger) as opened:
            stage_name, run, dag_run = place
            if dag_run is None:
                plan, stage, sent = _find(opened, what, stage_name, run)
                found = check_again(opened, plan, stage, sent, name=name, pool=pool)
            else:
                found = check_campaign(opened, what.replace("/", "."), dag_run, name=name)
    except PoolError as error:
        typer.echo(f"{error}\nwith --no-pool the ledger's word on the jobs is taken", err=True)
        raise typer.Exit(SOMETHING_WRONG) from error
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(SOMETHING_WRONG) from error
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found)
    return bool(found["good"])


def _find(
    ledger: Ledger, what: str, stage: str | None, run: int | None
) -> tuple[CampaignPlan, StagePlan, list[Submission]]:
    """Return the plan, the stage and the submissions that the arguments name."""
    if _TAGGED in what:
        if stage is not None or run is not None:
            raise typer.BadParameter("a tag names its stage and run: leave out --stage and --run")
        one = ledger.submission(what)
        if one is None:
            raise ProdsysError(f"the ledger {ledger.place} has no submission {what}")
        plan = ledger.plan_of(one.dag_id, one.tranche)
        return plan, plan.stage(one.stage), [one]
    if stage is None or run is None:
        raise typer.BadParameter("with a campaign, give --stage and --run too, or --dag-run")
    dag_id = what.replace("/", ".")
    for tranche in ledger.tranches(dag_id):
        if any(item.run == run for item in ledger.slices_of(dag_id, tranche)):
            plan = ledger.plan_of(dag_id, tranche)
            found = plan.stage(stage)
            return plan, found, ledger.submissions(dag_id, tranche, run=run, stage=stage)
    hint = f"{dag_id} has no such run"
    if dag_id not in ledger.campaigns():
        hint = did_you_mean(dag_id, ledger.campaigns())
    raise ProdsysError(f"run {run} of {dag_id} is not in the ledger {ledger.place} ({hint})")


def check_again(
    ledger: Ledger,
    plan: CampaignPlan,
    stage: StagePlan,
    submissions: Sequence[Submission],
    *,
    name: str | None = None,
    pool: bool = True,
) -> dict[str, Any]:
    """Judge submissions as if nothing had been accepted yet, and return what was found as JSON values.

    Outputs that cleanup has removed since keep the ledger's word. ProdsysError if there is nothing to check.
    """
    sent = [submission for submission in submissions if submission.clusters]
    if not sent:
        raise ProdsysError(f"{plan.dag_id}: no submission of {stage.name} is known to have made jobs")
    only = stage if name is None else _only(stage, name)
    judged = [_judged(ledger, plan, only, submission, name=name, pool=pool) for submission in sent]
    wide = _wide(ledger, plan, only, sent)
    good = all(item["good"] for item in judged) and all(item["outcome"] == "passed" for item in wide)
    return {
        "campaign": plan.dag_id,
        "stage": stage.name,
        "run": sent[0].run,
        "good": good,
        "submissions": judged,
        "wide_checks": wide,
    }


def check_campaign(ledger: Ledger, dag_id: str, dag_run: str, *, name: str | None = None) -> dict[str, Any]:
    """Run a campaign's own checks of scope campaign on what one dag_run has accepted, as JSON values."""
    from include.checks.wide import judge_campaign_checks

    plan = ledger.plan_of(dag_id, dag_run)
    chosen = tuple(check for check in plan.campaign_checks if name in (None, check.name))
    if not chosen:
        known = [check.name for check in plan.campaign_checks]
        raise ProdsysError(
            f"{dag_id} has no such check of scope campaign ({did_you_mean(name or '', known)})"
        )
    sent = ledger.submissions(dag_id, dag_run)
    places = dict.fromkeys((submission.run, submission.stage) for submission in sent)
    found = judge_campaign_checks(
        replace(plan, campaign_checks=chosen),
        tranche=dag_run,
        submissions=sent,
        accepted=[
            output
            for run, stage in places
            for output in ledger.accepted_outputs(experiment=plan.experiment, run=run, stage=stage)
        ],
        executions=[item for submission in sent for item in ledger.executions(submission.tag)],
    )
    wide = _wide_values(found)
    good = all(item["outcome"] == Outcome.PASSED for item in wide)
    return {"campaign": dag_id, "dag_run": dag_run, "good": good, "submissions": [], "wide_checks": wide}


def _only(stage: StagePlan, name: str) -> StagePlan:
    """Return the stage with one check on; ProdsysError if it does not have it."""
    from include.checks.registry import CHECKS

    own = tuple(check for check in stage.user_checks if check.name == name)
    known = [*(check.name for check in CHECKS), *(check.name for check in stage.user_checks)]
    if name not in known:
        raise ProdsysError(f"stage {stage.name} has no check {name!r} ({did_you_mean(name, known)})")
    return replace(stage, checks=() if own else (name,), user_checks=own)


def _judged(
    ledger: Ledger,
    plan: CampaignPlan,
    stage: StagePlan,
    submission: Submission,
    *,
    name: str | None,
    pool: bool,
) -> dict[str, Any]:
    from include.batch.pool_process import PoolProcess
    from include.checks.evidence import read_areas
    from include.checks.judge import judge
    from include.recovery.review import ads_to_judge

    ads = []
    if pool:
        with PoolProcess() as opened:
            ads = ads_to_judge(opened, submission)
    accepted, sources = _settled(ledger, plan, stage, run=submission.run)
    judgement = judge(
        plan,
        stage,
        submission,
        ads=ads,
        area=read_areas(plan, submission),
        now=time.time(),
        known=ledger.jobs(submission.tag),
        accepted=accepted,
        sources=sources,
    )
    units = [
        {
            "process": unit.process,
            "first_subrun": unit.first_subrun,
            "last_subrun": unit.last_subrun,
            "state": unit.state.value,
            "held": unit.held,
            "job_id": unit.job_id,
            "verdicts": [_verdict(item) for item in unit.verdicts if name in (None, item.check)],
        }
        for unit in judgement.units
    ]
    good = all(unit.state is SubrunState.ACCEPTED for unit in judgement.units)
    return {"tag": submission.tag, "good": good, "units": units, "notes": list(judgement.notes)}


def _settled(
    ledger: Ledger, plan: CampaignPlan, stage: StagePlan, *, run: int
) -> tuple[list[OutputRecord], list[OutputRecord]]:
    """Return the accepted outputs that cleanup has removed, and the files that a merge was made of."""
    there = set(ledger.accepted_outputs(experiment=plan.experiment, run=run, stage=stage.name))
    ever = ledger.accepted_outputs(experiment=plan.experiment, run=run, stage=stage.name, removed=True)
    sources = []
    if stage.merge is not None:
        sources = ledger.accepted_outputs(
            experiment=plan.experiment,
            run=run,
            stage=stage.merge.of_stage,
            name=stage.merge.of_output,
            removed=True,
        )
    return [item for item in ever if item not in there], sources


def _wide(
    ledger: Ledger, plan: CampaignPlan, stage: StagePlan, sent: Sequence[Submission]
) -> list[dict[str, Any]]:
    """Run the stage's own checks of scope stage on what the ledger has accepted."""
    if not any(check.scope == "stage" for check in stage.user_checks):
        return []
    from include.checks.wide import judge_stage_checks

    run = sent[0].run
    found = judge_stage_checks(
        plan,
        stage,
        run=run,
        submissions=sent,
        accepted=ledger.accepted_outputs(experiment=plan.experiment, run=run, stage=stage.name),
        executions=[item for each in sent for item in ledger.executions(each.tag)],
    )
    return _wide_values(found)


def _wide_values(found: Sequence[WideVerdict]) -> list[dict[str, Any]]:
    return [
        {
            **_verdict(item.verdict),
            "scope": item.scope,
            "jobs": [
                {"tag": job.tag, "process": job.unit.process, **_verdict(job.verdict)} for job in item.jobs
            ],
        }
        for item in found
    ]


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {
        "check": verdict.check,
        "outcome": verdict.outcome.value,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
    }


def _show(found: dict[str, Any]) -> None:
    for submission in found["submissions"]:
        units = submission["units"]
        counts = {state: sum(unit["state"] == state for unit in units) for state in SubrunState}
        told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        typer.echo(f"{submission['tag']}: {len(units)} jobs checked, {told}; nothing was recorded")
        bad = [unit for unit in units if unit["state"] != SubrunState.ACCEPTED]
        odd = [unit for unit in units if unit not in bad and _remarks(unit)]
        for unit in bad[:SHOWN]:
            _show_unit(unit, unit["verdicts"][-1:])
        for unit in odd[:SHOWN]:
            _show_unit(unit, _remarks(unit))
        if max(len(bad), len(odd)) > SHOWN:
            typer.echo(f"  {max(len(bad), len(odd)) - SHOWN} more; --json shows all")
        for note in submission["notes"][:SHOWN]:
            typer.echo(f"  note: {note}")
    for item in found["wide_checks"]:
        reason = f": {item['reason']}" if item["reason"] else ""
        typer.echo(f"check {item['check']} of the {item['scope']} {item['outcome']}{reason}")
        for job in [job for job in item["jobs"] if job["outcome"] != Outcome.PASSED][:SHOWN]:
            typer.echo(f"  {job['tag']}, process {job['process']} {job['outcome']}: {job['reason']}")


def _remarks(unit: dict[str, Any]) -> list[dict[str, str]]:
    """Return the verdicts of a good job that say something."""
    return [item for item in unit["verdicts"] if item["outcome"] == Outcome.PASSED and item["reason"]]


def _show_unit(unit: dict[str, Any], verdicts: Sequence[dict[str, str]]) -> None:
    span = f"subrun {unit['first_subrun']}"
    if unit["last_subrun"] != unit["first_subrun"]:
        span = f"subruns {unit['first_subrun']}..{unit['last_subrun']}"
    head = f"  process {unit['process']}, {span}: {unit['state']}"
    if not verdicts:
        typer.echo(f"{head} by another check than the one asked for")
    for item in verdicts:
        typer.echo(f"{head}, {item['check']} {item['outcome']}: {item['reason']}")
        if item["evidence"]:
            typer.echo(f"    evidence: {item['evidence']}")
