"""How far back a schedd's history reaches, and where a scan of it may stop.

History is in order of when a job left the queue, newest first, and its oldest rows are lost as it rotates.
A row does not say when it was written: a job may stay in the queue after its end (LeaveJobInQueue).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.batch.pool import HistoryReach

if TYPE_CHECKING:
    from collections.abc import Callable

LINGERS_S = 14 * 86_400
"""`condor_submit -spool` and `-remote` keep a completed job queued for ten days."""
DAY_S = 86_400


def reach(ask: Callable[[str, list[str], int], list[Any]], *, before: float) -> HistoryReach:
    """Return how far a history reaches; `ask` takes constraint, projection and the most rows, -1 for all."""
    at = int(before)
    # LeaveJobInQueue itself may be an expression that has become false since: only a plain `false` tells.
    surely_written = (
        f'JobStatus == 4 && ((unparse(LeaveJobInQueue) == "false" && EnteredCurrentStatus < {at}) || '
        f"EnteredCurrentStatus < {at - LINGERS_S})"
    )
    if rows := ask(surely_written, ["EnteredCurrentStatus"], 1):
        return HistoryReach(reaches=True, oldest=int(rows[0]["EnteredCurrentStatus"]))
    every = ask("true", ["EnteredCurrentStatus"], -1)
    ends = [int(row["EnteredCurrentStatus"]) for row in every if "EnteredCurrentStatus" in row]
    return HistoryReach(reaches=False, oldest=min(ends, default=None))


def long_gone(since: float | None) -> str | None:
    """Return when a history scan may stop: at a job that surely left the queue a day before `since`.

    A job that stays in the queue after its end (LeaveJobInQueue, as with `condor_submit -remote`) is written
    to history long after, so such a row stops nothing.
    """
    if since is None:
        return None
    return f"JobStatus == 4 && LeaveJobInQueue =?= false && EnteredCurrentStatus < {int(since) - DAY_S}"
