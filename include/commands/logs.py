"""`prodsys logs`: list, show, follow and search what jobs sent of their logs; keeps them in order."""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from include.bookkeeping.commands import missing
from include.campaign.units import parse_size, parse_time
from include.campaign.wording import did_you_mean
from include.errors import LogsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.logserver.records import Found, LogInfo, LogPiece, Where
    from include.logserver.store import LogStore

FOLLOW_S = 1.0
"""Between two looks at a log that grows."""
SHOWN = 30
JOB = re.compile(r"(\d{1,12})\.(\d{1,9})(?:@([\w.-]+))?$")
Text = str | None


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(logs)


def logs(  # noqa: PLR0913  one parameter an option
    campaign: Annotated[str | None, typer.Argument(help="EXPERIMENT.NAME; none: of all.")] = None,
    *,
    logs_db: Annotated[
        str,
        typer.Option(
            envvar="PRODSYS_LOGS_DB",
            default_factory=missing,
            show_default=False,
            help="URL of the logs' database.",
        ),
    ],
    search: Annotated[Text, typer.Option(help='Lines with all of: words, "several words", begin*.')] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing what comes.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="All that is kept, not only the tail.")] = False,
    job: Annotated[Text, typer.Option(help="CLUSTER.PROCESS or CLUSTER.PROCESS@SCHEDD.")] = None,
    stage: Annotated[Text, typer.Option(help="A stage.")] = None,
    run: Annotated[int | None, typer.Option(help="A run.")] = None,
    subrun: Annotated[int | None, typer.Option(help="A subrun.")] = None,
    node: Annotated[Text, typer.Option(help="A node, with or without its domain.")] = None,
    site: Annotated[Text, typer.Option(help="A site.")] = None,
    category: Annotated[Text, typer.Option(help="What triage says of the failure.")] = None,
    since: Annotated[Text, typer.Option(help="Not older than: `24 h`.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most logs or lines.")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="Create or upgrade the database.")] = False,
    expire: Annotated[bool, typer.Option("--expire", help="Remove old logs: --days, --space.")] = False,
    days: Annotated[str, typer.Option(help="With --expire: kept since the last post.")] = "60 d",
    space: Annotated[str, typer.Option(help="With --expire: most bytes of all logs.")] = "50 GB",
    reader_token: Annotated[Text, typer.Option(help="Print a log server's reader token for NAME.")] = None,
    log_key: Annotated[str, typer.Option(envvar="PRODSYS_LOG_KEY", help="Signs that token.")] = "",
) -> None:
    """Show the log of one job, else list the logs that are meant, or the lines that are searched for."""
    from include.logserver.records import Where

    where = Where(
        dag_id=campaign, stage=stage, run=run, subrun=subrun, host=node, site=site, category=category,
        since=None if since is None else time.time() - _seconds(since), **_job(job),
    )  # fmt: skip
    with _opened(logs_db) as store:
        if upgrade:
            typer.echo(f"logs {store.place} are at revision {store.upgrade()}")
        elif reader_token is not None:
            typer.echo(_reader_token(log_key, reader_token))
        elif expire:
            _expire(store, days=days, space=space, as_json=as_json)
        elif search is not None:
            _found(store.search(search, where, limit=limit), as_json=as_json)
        else:
            found = store.logs(where, limit=limit)
            if not found and campaign is not None:
                _known(campaign, store.campaigns())
            if len(found) == 1 or (job is not None and found):
                _show(store, found[0], follow=follow, whole=whole, as_json=as_json)
            else:
                _list(found, where, as_json=as_json)


def _known(campaign: str, known: list[str]) -> None:
    if campaign not in known:
        raise typer.BadParameter(
            f"no log of a campaign {campaign!r} is here; {did_you_mean(campaign, known)}"
        )


def _expire(store: LogStore, *, days: str, space: str, as_json: bool) -> None:
    from include.logserver.records import DAY_S, Policy

    try:
        policy = Policy(days=parse_time(days) / DAY_S, total_bytes=parse_size(space))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    gone = store.expire(policy, now=time.time())
    left = store.total_bytes()
    if as_json:
        typer.echo(json.dumps({"removed": gone.logs, "freed": gone.freed, "left": left}))
    else:
        typer.echo(f"{gone.logs} logs removed, {gone.freed:,} bytes; {left:,} bytes are left")


def _reader_token(key: str, name: str) -> str:
    from include.logserver.tokens import READER_TOKEN_S, reader_token

    return reader_token(key, name, expires=time.time() + READER_TOKEN_S)


def _found(found: Found, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    for hit in found.hits:
        log = hit.log
        place = f"{log.dag_id} {log.stage} run {log.run} {_subruns(log)} {log.job_id} {log.host or '?'}"
        typer.echo(f"{_moment(hit.at)} {place}: {hit.line.text}")
    if not found.hits:
        typer.echo("no line has all of that")
    if not found.complete:
        typer.echo("the search took too long and stopped: say which campaign, run or time", err=True)
    elif found.before is not None:
        typer.echo("there may be more: --limit", err=True)


def _show(store: LogStore, log: LogInfo, *, follow: bool, whole: bool, as_json: bool) -> None:
    if as_json:
        pieces = list(store.whole(log.id)) if whole else [store.tail(log.id)]
        lines = [asdict(line) for piece in pieces for line in piece.lines]
        typer.echo(json.dumps({"log": log.to_dict(), "lines": lines}, indent=2))
        return
    typer.echo(_line_of(log), err=True)
    stop = 0
    for piece in store.whole(log.id) if whole else [store.tail(log.id)]:
        stop = _print(piece)
    try:
        while follow and store.log(log.id).ended is None:
            time.sleep(FOLLOW_S)
            stop = _print(store.since(log.id, stop))
        if follow:
            _print(store.since(log.id, stop))
            typer.echo(_line_of(store.log(log.id)), err=True)
    except KeyboardInterrupt:
        return


def _print(piece: LogPiece) -> int:
    for line in piece.lines:
        typer.echo(f"... {line.missing} bytes are not kept ..." if line.missing else line.text)
    sys.stdout.flush()
    return piece.stop


def _list(found: list[LogInfo], where: Where, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"logs": [log.to_dict() for log in found]}, indent=2))
        return
    for log in found[:SHOWN]:
        typer.echo(_line_of(log))
    if not found:
        asked = {name: value for name, value in asdict(where).items() if value is not None}
        named = ", ".join(f"{name} {value}" for name, value in asked.items())
        typer.echo(f"no log of {named or 'any job'} is here")
    elif len(found) > SHOWN:
        typer.echo(f"and {len(found) - SHOWN} more; --json has them all")


def _line_of(log: LogInfo) -> str:
    if log.ended is not None:
        state = f"ended {_moment(log.ended)} with {log.exit_code}"
        state += f" ({log.failed_at}: {log.error})" if log.failed_at else ""
    else:
        state = f"last heard of {_moment(log.seen)}"
    place = f"{log.job_id} {log.dag_id} {log.stage} run {log.run} {_subruns(log)}"
    kind = f", {log.category}" if log.category else ""
    return f"{place} on {log.host or 'an unknown node'}: {state}{kind}, {log.stored} bytes"


def _subruns(log: LogInfo) -> str:
    if log.first_subrun is None:
        return "subrun ?"
    more = "" if log.last_subrun == log.first_subrun else f"-{log.last_subrun}"
    return f"subrun {log.first_subrun}{more}"


def _job(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    match = JOB.match(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is no job: write CLUSTER.PROCESS@SCHEDD, as 77.2@ap1.example.org")
    return {"cluster": int(match[1]), "process": int(match[2]), "schedd": match[3]}


def _seconds(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


@contextmanager
def _opened(url: str) -> Iterator[LogStore]:
    """Open the store; end the command with the error where something is wrong."""
    from include.logserver.store import LogStore  # loads SQLAlchemy

    try:
        with LogStore(url) as store:
            yield store
    except LogsError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
