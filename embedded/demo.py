"""`prodsys demo`: the example campaign from nothing to merged ROOT files, checked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from rich.table import Table

from embedded.airflow_api import AirflowApi
from embedded.deployment import USER
from include.bookkeeping.ledger import Ledger
from include.errors import ProdsysError

if TYPE_CHECKING:
    from rich.console import Console

    from embedded.deployment import Deployment
    from include.bookkeeping.records import OutputRecord


def run_demo(deployment: Deployment, *, dag_id: str, limit_s: float, console: Console) -> list[OutputRecord]:
    """Run the campaign to its end, verify what it made, and return the merged outputs.

    Raises ProdsysError with the failed tasks and their last log lines if it does not end well.
    """
    with AirflowApi(deployment) as api, Ledger(deployment.ledger_url) as ledger:
        api.wait_for_dag(dag_id, limit_s=120)
        run_id = api.trigger(dag_id)
        page = f"{deployment.url}/dags/{dag_id}/runs/{run_id}"
        console.print(f"{dag_id} started as {run_id}", highlight=False)
        console.print(f"watch it at {page} (user {USER}, password {deployment.password})", highlight=False)
        seen: list[str] = []
        began = time.monotonic()
        state = api.follow(
            dag_id,
            run_id,
            limit_s=limit_s,
            on_change=lambda: _say_progress(ledger, dag_id, run_id, seen, console, began),
        )
        if state != "success":
            raise ProdsysError(failures(api, dag_id, run_id))
        merged = ledger.merged_outputs(dag_id, run_id)
    verify(merged, console)
    return merged


def _say_progress(
    ledger: Ledger, dag_id: str, run_id: str, seen: list[str], console: Console, began: float
) -> None:
    try:
        rows = ledger.stage_progress(dag_id, run_id)
    except ProdsysError:  # nothing is reserved yet
        return
    parts = "   ".join(f"{row.stage} {row.accepted}/{row.subruns}" for row in rows)
    parts += _in_queue(ledger, dag_id)
    if parts not in seen[-1:]:
        seen.append(parts)
        console.print(f"{time.monotonic() - began:5.0f} s   {parts}", highlight=False)


def _in_queue(ledger: Ledger, dag_id: str) -> str:
    """Return how many of the campaign's jobs wait, run and are held, as last counted."""
    found = ledger.overview(times=(), dag_id=dag_id).submissions
    counts = {name: sum(getattr(each, name) for each in found) for name in ("idle", "running", "held")}
    told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"   (jobs: {told})" if told else ""


def failures(api: AirflowApi, dag_id: str, run_id: str) -> str:
    """Return the failed tasks of a dag_run, each with the last lines of its log."""
    lines = [f"{dag_id} {run_id} failed:"]
    for task in api.tasks(dag_id, run_id):
        if task["state"] == "failed":
            lines.append(f"  {task['task_id']} [{task['map_index']}], try {task['try_number']}:")
            log = api.log(
                dag_id, run_id, task["task_id"], map_index=task["map_index"], try_number=task["try_number"]
            )
            lines += [f"    {line}" for line in log.splitlines()[-12:]]
    return "\n".join(lines)


def verify(outputs: list[OutputRecord], console: Console) -> None:
    """Open every merged file once more, apart from the campaign's own check."""
    import uproot

    if not outputs:
        raise ProdsysError("the campaign ended well but has no merged file in the ledger")
    table = Table("run", "subruns", "entries", "MB", title="What the campaign made, opened and verified")
    paths = []
    for output in outputs:
        with uproot.open(output.path) as file:
            trees = [file[name] for name, kind in file.classnames(cycle=False).items() if kind == "TTree"]
            columns = trees[0].arrays(["run", "subrun"], library="np")
            entries = int(trees[0].num_entries)
        subruns = sorted(set(columns["subrun"].tolist()))
        expected = [*range(output.first_subrun, output.last_subrun + 1)]
        in_order = bool((columns["subrun"][1:] >= columns["subrun"][:-1]).all())
        if subruns != expected or not in_order or set(columns["run"].tolist()) != {output.run}:
            raise ProdsysError(f"{output.path}: run {output.run} subruns {subruns}, not {expected} in order")
        span = f"{output.first_subrun}..{output.last_subrun}"
        table.add_row(str(output.run), span, str(entries), f"{output.size / 1e6:.2f}")
        paths.append(output.path)
    console.print(table)
    for path in paths:
        console.print(path, highlight=False, markup=False)
