"""`prodsys orphans`: clusters in the queues that nothing in Airflow waits for."""

from __future__ import annotations

import getpass
import json
import re
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from include.bookkeeping.commands import LedgerOption  # noqa: TC001  typer resolves it
from include.commands.airflow_runs import AirflowAccess, AirflowRuns
from include.errors import PoolError, ProdsysError
from include.joblogs.text import clean
from include.recovery.orphans import find_orphans, moment, remove_cluster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.batch.pool import Pool, TaggedCluster
    from include.bookkeeping.ledger import Ledger
    from include.recovery.orphans import Orphan, Runs

PLAIN_WIDTH = 200
"""Columns of a table that goes to a file or a pipe."""
_CLUSTER = re.compile(r"(\d+)@(.+)")


def orphans(
    clusters: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CLUSTER@SCHEDD ...]", help="Only these; with --remove, whatever why."),
    ] = None,
    *,
    ledger: LedgerOption,
    airflow: Annotated[
        str, typer.Option(envvar="PRODSYS_AIRFLOW_URL", help="Address of Airflow's api-server.")
    ],
    user: Annotated[str, typer.Option(envvar="PRODSYS_AIRFLOW_USER", help="Airflow user.")] = "",
    password: Annotated[
        str,
        typer.Option(envvar="PRODSYS_AIRFLOW_PASSWORD", help="Better given in the environment."),
    ] = "",
    token: Annotated[
        str, typer.Option(envvar="PRODSYS_AIRFLOW_TOKEN", help="A token instead of user and password.")
    ] = "",
    remove: Annotated[
        bool,
        typer.Option("--remove", help="Remove from the queue what nothing can wait for any more."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List clusters that carry prodsys's tag and that no dag_run waits for; --remove ends their jobs."""
    from include.batch.pool_process import PoolProcess
    from include.bookkeeping.ledger import Ledger  # loads SQLAlchemy

    access = AirflowAccess(url=airflow, token=token, user=user, password=password)
    wanted = {_named(text) for text in clusters or ()}
    try:
        with Ledger(ledger) as opened, PoolProcess() as pool, AirflowRuns(access) as runs:
            found, silent = look(opened, pool, runs)
            chosen = tuple(each for each in found if not wanted or _names(each) & wanted)
            said, failed = _remove(opened, pool, chosen, named=bool(wanted)) if remove else ([], [])
            silent += failed
    except ProdsysError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    missing = wanted - {name for each in chosen for name in _names(each)}
    if as_json:
        rows = [as_values(each) for each in chosen]
        typer.echo(json.dumps({"orphans": rows, "removed": said, "no_answer": silent}, indent=2))
    else:
        _show(chosen, said)
    for line in [
        *silent,
        *(f"{name} is no orphan: it is not in a queue, or is waited for" for name in sorted(missing)),
    ]:
        typer.echo(line, err=True)
    if silent or missing:
        raise typer.Exit(1)


def look(ledger: Ledger, pool: Pool, runs: Runs) -> tuple[tuple[Orphan, ...], list[str]]:
    """Return the orphans of all schedds, and a sentence on each schedd that gave no answer."""
    listed: list[TaggedCluster] = []
    silent = []
    for schedd in pool.schedds():
        try:
            listed += pool.tagged(schedd)
        except PoolError as error:
            silent.append(f"{schedd}: no answer, so its clusters are not known: {error}")
    return find_orphans(ledger, listed, runs), silent


def as_values(orphan: Orphan) -> dict[str, Any]:
    """Return an orphan as JSON values."""
    cluster = orphan.cluster
    return {
        "cluster": str(cluster.id),
        "tag": cluster.tag,
        "owner": cluster.owner,
        "idle": cluster.idle,
        "running": cluster.running,
        "held": cluster.held,
        "queued_at": cluster.queued_at,
        "why": orphan.why.value,
        "reason": orphan.reason,
        "removable": orphan.why.removable,
    }


def register(app: typer.Typer) -> None:
    """Put the command on the command line."""
    app.command()(orphans)


def _remove(
    ledger: Ledger, pool: Pool, chosen: Sequence[Orphan], *, named: bool
) -> tuple[list[str], list[str]]:
    """Remove what may be removed, a named cluster whatever the reason; say what was, and what was not."""
    said, failed = [], []
    for each in chosen:
        if not (named or each.why.removable):
            continue
        cluster, tag = each.cluster.id, each.cluster.tag
        try:
            done = remove_cluster(
                ledger, pool, cluster, each.facts,
                tag=tag, why=each.reason, who=getpass.getuser(), now=time.time(),
            )  # fmt: skip
            said.append(done)
        except PoolError as error:
            failed.append(f"{tag}: cluster {cluster} was not removed: {error}")
    return said, failed


def _names(orphan: Orphan) -> set[str]:
    """Return what a user may call the cluster: by its schedd's name or by its machine's."""
    number = orphan.cluster.id.cluster
    return {f"{number}@{orphan.cluster.id.schedd}", f"{number}@{orphan.cluster.machine}"}


def _named(text: str) -> str:
    if not _CLUSTER.fullmatch(text):
        raise typer.BadParameter(
            f"{text!r} names no cluster: write CLUSTER@SCHEDD, such as 123@ap1.example.org"
        )
    return text


def _show(found: Sequence[Orphan], said: Sequence[str]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    if not found:
        console.print(Text("no orphan: something waits for every cluster with a tag"), soft_wrap=True)
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("cluster", "idle", "running", "held", "queued since", "why", "tag"):
        table.add_column(name, justify="right" if name in ("idle", "running", "held") else "left")
    for each in found:
        cluster = each.cluster
        since = moment(cluster.queued_at) if cluster.queued_at else ""
        counts = (str(cluster.idle), str(cluster.running), str(cluster.held))
        table.add_row(str(cluster.id), *counts, since, each.why.value, Text(clean(cluster.tag)))
    console.print(table)
    for each in found:
        console.print(Text(clean(f"{each.cluster.id}: {each.reason}")), soft_wrap=True)
    for line in said:
        console.print(Text(clean(line)), soft_wrap=True)
    if not said and any(each.why.removable for each in found):
        console.print(Text("remove with: prodsys orphans --remove"), soft_wrap=True)
    if any(not each.why.removable for each in found):
        console.print(
            Text("what is not removed by itself is removed by name: prodsys orphans --remove CLUSTER@SCHEDD"),
            soft_wrap=True,
        )
