"""`prodsys triage`: why jobs failed, what they have in common, and what another set of rules would say."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path  # noqa: TC003  typer resolves it
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.campaign.states import Outcome
from include.campaign.units import parse_time
from include.campaign.wording import did_you_mean
from include.checks.verdict import Verdict
from include.errors import ProdsysError
from include.triage.failure import Failure
from include.triage.groups import Group, candidates_for_rules, cross, group, harm
from include.triage.story import clean_line, story

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import StageDiagnosis
    from include.triage.classify import Triage
    from include.triage.failure import Diagnosis
    from include.triage.replay import Replay

RULES = "rules"
CELLS = ("category", "rule", "stage", "site", "node", "exit")
MAX_CELLS = 1000
"""Rows of the cross table in JSON."""
CANDIDATES = 10

LedgerUrl = Annotated[str | None, typer.Option("--ledger", envvar="PRODSYS_LEDGER", help="The ledger's URL.")]


def triage(  # noqa: PLR0913  each is an option
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[EXPERIMENT.NAME | rules]", help="A campaign; or `rules`, to list the rules."
        ),
    ] = None,
    *,
    ledger: LedgerUrl = None,
    tranche: Annotated[str | None, typer.Option(help="Only this tranche.")] = None,
    run: Annotated[int | None, typer.Option(help="Only this run.")] = None,
    stage: Annotated[str | None, typer.Option(help="Only this stage.")] = None,
    settled: Annotated[
        bool, typer.Option("--all", help="Failures too whose subruns were accepted since.")
    ] = False,
    since: Annotated[
        str | None, typer.Option(help="Only jobs that ended since: `2 d` ago, or 2026-11-01.")
    ] = None,
    log: Annotated[list[Path] | None, typer.Option(help="Say why the job of this log failed.")] = None,
    exit_code: Annotated[int | None, typer.Option("--exit", help="With --log: the job's exit code.")] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Say what the rules would change of the past; writes nothing.")
    ] = False,
    rules: Annotated[Path | None, typer.Option(help="A folder of rules besides those installed.")] = None,
    check: Annotated[bool, typer.Option("--check", help="With rules: see that every example holds.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show why jobs failed, grouped by cause, with the evidence and what to do."""
    from include.triage.classify import Triage  # reads the rules' format: pydantic

    try:
        if what == RULES:
            _rules(Triage.load(rules), check=check, as_json=as_json)
        elif log:
            _logs(Triage.load(rules), log, exit_code, as_json=as_json)
        else:
            chosen = {"tranche": tranche, "run": run, "stage": stage}
            asked = {**chosen, "dag_id": what.replace("/", ".") if what else None, "since": _moment(since)}
            _ledger(
                ledger, asked, settled=settled, rules=Triage.load(rules) if replay else None, as_json=as_json
            )
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(triage)


def _moment(since: str | None) -> float | None:
    """Return epoch seconds for `2 d` ago or for a date."""
    if since is None:
        return None
    try:
        return time.time() - parse_time(since)
    except ValueError:
        pass
    try:
        date = datetime.fromisoformat(since)
    except ValueError:
        raise ProdsysError(
            f"--since {since!r} is no time such as `2 d` and no date such as 2026-11-01"
        ) from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def _rules(triage: Triage, *, check: bool, as_json: bool) -> None:
    """List the rules; with `check`, exit with 1 if an example does not hold."""
    from include.triage.examples import problems

    if check:
        wrong = problems(triage)
        for line in wrong:
            typer.echo(line, err=True)
        if wrong:
            raise ProdsysError(f"{len(wrong)} examples do not hold")
        typer.echo(f"all examples of {len(triage.rulebook.rules)} rules hold")
        return
    rows = [
        {
            "rule": one.name, "category": one.rule.category.value, "rank": one.rule.rank,
            "remedy": one.rule.remedy.value, "hold": one.rule.hold.action.value,
            "shadow": one.rule.shadow, "cause": one.rule.cause, "advice": one.rule.advice, "place": one.place,
        }
        for one in triage.rulebook.rules
    ]  # fmt: skip
    if as_json:
        _json({"fingerprint": triage.rulebook.fingerprint, "rules": rows})
        return
    for row in rows:
        shadow = " (shadow)" if row["shadow"] else ""
        typer.echo(f"{row['rule']:24} {row['category']:14} {row['remedy']:12} {row['cause']}{shadow}")


def _logs(triage: Triage, logs: Sequence[Path], code: int | None, *, as_json: bool) -> None:
    """Say why the jobs of some logs failed, going by the logs alone."""
    for path in logs:
        if not path.is_file():
            raise ProdsysError(f"{path}: there is no such log")
    found = triage.diagnose([_by_hand(path.absolute(), code) for path in logs])
    if as_json:
        _json({"diagnoses": [_plain(one) for one in found]})
        return
    for path, one in zip(logs, found, strict=True):
        name = f"{one.category}/{one.rule}" if one.rule else one.category
        shadow = (f"shadow rule: {one.shadow}",) if one.shadow else ()
        lines = (f"evidence: {one.evidence}", f"to do: {one.advice}", f"remedy: {one.remedy.value}", *shadow)
        typer.echo(clean_line(f"{path}: {one.cause} [{name}]"))
        for line in lines:
            typer.echo(clean_line(f"    {line}"))


def _by_hand(path: Path, code: int | None) -> Failure:
    reason = "" if code is None else f"exit code {code} from the job"
    return Failure(
        stage="", run=0, process=0, first_subrun=0, last_subrun=0, job_id="",
        verdict=Verdict(check="exit", outcome=Outcome.FAILED, reason=reason),
        ad=None, report=None, log=str(path), held=False,
    )  # fmt: skip


def _ledger(
    url: str | None, asked: dict[str, Any], *, settled: bool, rules: Triage | None, as_json: bool
) -> None:
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    if url is None:
        raise typer.BadParameter("say which ledger: --ledger URL, or PRODSYS_LEDGER")
    with Ledger(url) as opened:
        diagnoses = opened.diagnoses(**asked, open_only=not settled and rules is None)
        if not diagnoses:
            _nothing(opened, asked["dag_id"], as_json=as_json)
        elif rules is not None:
            from include.recovery.duplicates import CATEGORY
            from include.triage.replay import replay

            failed = [each for each in diagnoses if each.diagnosis.category != CATEGORY]
            _replayed(replay(rules, opened, failed), as_json=as_json)
        else:
            _groups(opened, diagnoses, as_json=as_json)


def _nothing(ledger: Ledger, dag_id: str | None, *, as_json: bool) -> None:
    """Say that nothing failed; ProdsysError where the ledger does not know the campaign."""
    known = ledger.campaigns()
    if dag_id is not None and dag_id not in known:
        raise ProdsysError(f"{dag_id} is not in the ledger {ledger.place} ({did_you_mean(dag_id, known)})")
    if as_json:
        _json({"groups": [], "cells": [], "candidates": []})
    else:
        typer.echo("triage: the ledger has no failure of this kind")


def _grouped(ledger: Ledger, diagnoses: Sequence[StageDiagnosis]) -> list[Group]:
    """Return the groups, each stage compared with all of its own jobs."""
    from include.recovery.background import background_of

    by_stage: dict[str, list[StageDiagnosis]] = {}
    for item in diagnoses:
        by_stage.setdefault(item.stage, []).append(item)
    groups: list[Group] = []
    for stage, some in by_stage.items():
        slices = dict.fromkeys((item.dag_id, item.tranche, item.run) for item in some)
        groups += group(some, background=background_of(ledger, slices, stage))
    return sorted(groups, key=harm)


def _groups(ledger: Ledger, diagnoses: Sequence[StageDiagnosis], *, as_json: bool) -> None:
    groups = _grouped(ledger, diagnoses)
    candidates = candidates_for_rules(diagnoses)
    if as_json:
        cells = [
            {**dict(zip(CELLS, values, strict=True)), "jobs": jobs}
            for values, jobs in cross(diagnoses, CELLS)[:MAX_CELLS]
        ]
        told = [{"signature": signature, "jobs": jobs} for signature, jobs, _ in candidates]
        _json({"groups": [_plain_group(one) for one in groups], "cells": cells, "candidates": told})
        return
    for line in story(groups, shown=len(groups)):
        typer.echo(line)
    if candidates:
        typer.echo("no rule fits these; the commonest deserve one (docs/triage.md):")
        for signature, jobs, _ in candidates[:CANDIDATES]:
            typer.echo(clean_line(f"    {jobs} x {signature}"))


def _replayed(found: Replay, *, as_json: bool) -> None:
    if as_json:
        changes = [
            {"before": one.before, "after": one.after, "jobs": one.jobs, "job": one.example.diagnosis.job_id,
             "evidence_before": one.example.diagnosis.evidence, "now": _plain(one.now)}
            for one in found.changes
        ]  # fmt: skip
        counts = {"judged": found.judged, "without_log": found.without_log, "overtaken": found.overtaken}
        _json({**counts, "changes": changes})
        return
    typer.echo(
        f"replay: {found.judged} past failures judged again, {found.without_log} of them without a log; "
        f"{found.changed} would be judged otherwise"
    )
    if found.overtaken:
        typer.echo(f"not judged: {found.overtaken}, whose outputs failed a check that was overtaken since")
    for one in found.changes:
        record = one.example.diagnosis
        typer.echo(f"{one.jobs} x {one.before} -> {one.after}")
        typer.echo(clean_line(f"    example: {one.example.stage}, job {record.job_id or 'not known'}"))
        typer.echo(clean_line(f"    before: {record.cause} ({record.evidence})"))
        typer.echo(clean_line(f"    now: {one.now.cause} ({one.now.evidence})"))


def _plain(one: Diagnosis) -> dict[str, Any]:
    return {
        "log": one.failure.log, "category": one.category, "rule": one.rule, "cause": one.cause,
        "evidence": one.evidence, "advice": one.advice, "remedy": one.remedy.value, "hold": one.hold.value,
        "hold_pause_s": one.hold_pause_s, "signature": one.signature, "shadow": one.shadow,
    }  # fmt: skip


def _plain_group(one: Group) -> dict[str, Any]:
    record = one.example.diagnosis
    return {
        "stage": one.stage, "category": one.category, "rule": one.rule, "signature": one.signature,
        "cause": one.cause, "advice": one.advice, "remedy": one.remedy.value, "jobs": one.jobs,
        "subruns": one.subruns, "exits": dict(one.exits), "nodes": dict(one.nodes), "sites": dict(one.sites),
        "runs": {str(run): jobs for run, jobs in one.runs}, "unusual": list(one.unusual),
        "example": {"job": record.job_id, "run": one.example.run, "subrun": record.first_subrun,
                    "evidence": record.evidence},
    }  # fmt: skip


def _json(content: dict[str, Any]) -> None:
    # backslashreplace: half a surrogate pair, of a file name that is not UTF-8, becomes JSON's escape for it
    text = json.dumps(content, indent=2, ensure_ascii=False)
    typer.echo(text.encode("utf-8", "backslashreplace").decode())
