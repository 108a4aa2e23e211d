"""`prodsys nodes`: how jobs fare on each node, which are suspected, and which are excluded."""

from __future__ import annotations

import getpass
import json
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.bookkeeping.records import ActionRecord, Exclusion
from include.campaign.states import ActionKind
from include.campaign.units import parse_time
from include.errors import ProdsysError
from include.joblogs.text import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.bookkeeping.ledger import Ledger
    from include.bookkeeping.records import NodeFact, NodeTally
    from include.triage.blackholes import Suspect

app = typer.Typer(help="Nodes: how jobs fare on them, which are suspected or excluded.")

PLAIN_WIDTH = 160
"""Columns of a table that goes to a file or a pipe."""
SHOWN = 40
"""Nodes in the table; JSON has them all."""
SiteOption = Annotated[bool, typer.Option("--site", help="NAME is a site's (GLIDEIN_Site), not a node's.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The node as the pool names it.")]


@app.callback(invoke_without_command=True)
def nodes(
    context: typer.Context,
    *,
    ledger: Annotated[
        str | None, typer.Option("--ledger", envvar="PRODSYS_LEDGER", help="The ledger's URL.")
    ] = None,
    since: Annotated[str, typer.Option(help="Jobs that ended within this time: `24 h`.")] = "24 h",
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show how jobs ended on each node, which nodes are suspected, and which are excluded."""
    if context.invoked_subcommand is not None:
        return
    if ledger is None:
        raise typer.BadParameter("say which ledger: --ledger URL, or PRODSYS_LEDGER")
    now, span = time.time(), _seconds(since)
    with _opened(ledger) as opened:
        found = nodes_of(opened, since=now - span, now=now)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        _show(found, span=since)


@app.command()
def exclude(
    name: NameArgument,
    *,
    ledger: LedgerOption,
    lasts: Annotated[str, typer.Option("--for", help="How long: `24 h`, `7 d`.")] = "24 h",
    why: Annotated[str, typer.Option(help="The reason, for everybody to read.")],
    site: SiteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Send no more jobs to a node or a site for a while; jobs that run there run on."""
    now, who, kind = time.time(), getpass.getuser(), _kind(site=site)
    reason = _line(why)
    if not reason:
        raise typer.BadParameter("say why, for everybody to read: --why TEXT")
    wanted = Exclusion(kind=kind, name=name, since=now, until=now + _seconds(lasts), by=who, reason=reason)
    with _opened(ledger) as opened:
        kept = opened.exclude(wanted)
        opened.record_action(_action(ActionKind.EXCLUDE, kept, who=who, now=now))
    if as_json:
        typer.echo(json.dumps(_exclusion(kept), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{kind} {name} is excluded until {_moment(kept.until)}: {_line(kept.reason)}")


@app.command()
def lift(
    name: NameArgument,
    *,
    ledger: LedgerOption,
    site: SiteOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """End the exclusion of a node or a site now; prodsys leaves the node alone for a day."""
    now, who, kind = time.time(), getpass.getuser(), _kind(site=site)
    with _opened(ledger) as opened:
        lifted = opened.lift(kind, name, who, now)
        if lifted is None:
            active = [_line(each.name) for each in opened.exclusions(now) if each.kind == kind]
            there = ", ".join(active) or "none is"
            raise ProdsysError(
                f"{kind} {_line(name)} is not excluded in the ledger {opened.place}; excluded: {there}"
            )
        opened.record_action(_action(ActionKind.LIFT, lifted, who=who, now=now))
    if as_json:
        typer.echo(json.dumps(_exclusion(lifted), indent=2, ensure_ascii=False))
    else:
        typer.echo(f"{kind} {_line(name)} is no longer excluded")


def nodes_of(ledger: Ledger, *, since: float, now: float) -> dict[str, Any]:
    """Return every node that jobs ended on or that is excluded, as JSON values; suspects come first."""
    from include.triage.blackholes import suspects  # loads numpy

    tallies = ledger.node_tallies(since, now)
    active = ledger.exclusions(now)
    rows = _rows(tallies, suspects(tallies), {fact.host: fact for fact in ledger.node_facts()}, active)
    return {
        "since": since,
        "until": now,
        "nodes": rows,
        "exclusions": [_exclusion(each) for each in active],
    }


def _rows(
    tallies: Sequence[NodeTally],
    suspected: Sequence[Suspect],
    facts: dict[str, NodeFact],
    active: Sequence[Exclusion],
) -> list[dict[str, Any]]:
    of_node: dict[str, list[NodeTally]] = defaultdict(list)
    for tally in tallies:
        of_node[tally.host].append(tally)
    until = {each.name: each.until for each in active if each.kind == "node"}
    suspects = {each.host: each for each in suspected}
    rows = []
    for host in {**of_node, **until}:
        mine, suspect, fact = of_node.get(host, []), suspects.get(host), facts.get(host)
        sites = [each.site for each in mine if each.site] + [fact.site if fact else None]
        rows.append(
            {
                "host": host,
                "site": sites[0],
                "good": sum(each.good for each in mine),
                "bad": sum(each.bad for each in mine),
                "bad_fast": sum(each.bad_fast for each in mine),
                "chance": suspect.q_value if suspect else None,
                "suspicion": suspect.reason if suspect else None,
                "cvmfs": dict(fact.cvmfs) if fact else {},
                "excluded_until": until.get(host),
            }
        )
    order = {each.host: place for place, each in enumerate(suspected)}
    return sorted(rows, key=lambda row: (order.get(row["host"], len(order)), -row["bad"], row["host"]))


def _show(found: dict[str, Any], *, span: str) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    rows = found["nodes"]
    suspected = [row for row in rows if row["suspicion"]]
    head = (
        f"{len(rows)} nodes with jobs that ended in the last {span}, or excluded; {len(suspected)} suspected"
    )
    console.print(Text(head), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in (
        ("node", "left"),
        ("site", "left"),
        ("good", "right"),
        ("bad", "right"),
        ("fast", "right"),
    ):
        table.add_column(name, justify="right" if side == "right" else "left")
    for name in ("suspected", "cvmfs", "excluded until"):
        table.add_column(name)
    for row in rows[:SHOWN]:
        table.add_row(*(Text(cell) for cell in _cells(row)))
    console.print(table)
    if len(rows) > SHOWN:
        console.print(Text(f"and {len(rows) - SHOWN} nodes more, with fewer failures; --json has them all"))
    for row in suspected[:SHOWN]:
        console.print(Text(_line(f"suspected: {row['suspicion']}")), soft_wrap=True)
    for each in found["exclusions"]:
        line = f"excluded: {each['kind']} {each['name']} until {_moment(each['until'])} by {each['by']}"
        console.print(Text(_line(f"{line}: {each['reason']}")), soft_wrap=True)


def _cells(row: dict[str, Any]) -> list[str]:
    cvmfs = [f"{name} {'?' if revision is None else revision}" for name, revision in row["cvmfs"].items()]
    return [
        _line(row["host"]),
        _line(row["site"] or ""),
        *(str(row[name]) for name in ("good", "bad", "bad_fast")),
        "yes" if row["suspicion"] else "",
        "\n".join(map(_line, cvmfs)),
        _moment(row["excluded_until"]) if row["excluded_until"] else "",
    ]


@contextmanager
def _opened(url: str) -> Iterator[Ledger]:
    """Open the ledger; end the command with the error where something is wrong."""
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    try:
        with Ledger(url) as opened:
            yield opened
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _seconds(text: str) -> int:
    try:
        seconds = parse_time(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    if not seconds:
        raise typer.BadParameter(f"{text!r} is no time at all")
    return seconds


def _line(text: str) -> str:
    """Return text that a terminal can take: one line, no escapes and control characters."""
    return " ".join(filter(None, map(clean, text.splitlines())))


def _kind(*, site: bool) -> str:
    return "site" if site else "node"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")


def _exclusion(each: Exclusion) -> dict[str, Any]:
    names = ("kind", "name", "since", "until", "by", "reason", "lifted_at")
    return {name: getattr(each, name) for name in names}


def _action(kind: ActionKind, exclusion: Exclusion, *, who: str, now: float) -> ActionRecord:
    until = f" until {_moment(exclusion.until)}: {exclusion.reason}" if kind is ActionKind.EXCLUDE else ""
    return ActionRecord(
        at=now,
        who=who,
        kind=kind,
        dag_id="",
        tranche="",
        run=None,
        stage="",
        tag="",
        detail=f"{kind.value} {exclusion.kind} {exclusion.name}{until}",
    )
