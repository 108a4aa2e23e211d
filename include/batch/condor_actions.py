"""What is done to jobs in a schedd: remove, release, change attributes; each on a list of job ids.

A list is taken by the schedd as it is: 10,000 ids in 0.2 s. A constraint of several hundred alternatives
matches nothing, without an error (25.14).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import htcondor2  # noqa: TID253  # nothing on the parse path imports this module

from include.batch.condor_ads import quoted
from include.batch.requirements import EXCLUDED_HOSTS, EXCLUDED_SITES, name_list
from include.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

HELD = "JobStatus == 5"
WAITING = "(JobStatus == 1 || JobStatus == 5)"


def act(handle: Any, action: str, what: list[str] | str, reason: str) -> int:
    """Remove or release jobs, given as ids or as a constraint; return how many the schedd did.

    A reason that is a plain text would be dropped; the number beside it is its subcode. PoolError where the
    schedd denies some of the jobs.
    """
    answer = handle.act(getattr(htcondor2.JobAction, action), what, (reason, 0))
    if answer is None:
        msg = f"{action} of {_shown(what)}: the schedd did not say what it did. Look with condor_q."
        raise PoolError(msg)
    denied = int(answer.get("TotalPermissionDenied", 0)) + int(answer.get("TotalError", 0))
    if denied:
        done = int(answer.get("TotalSuccess", 0))
        msg = f"{action}: {denied} jobs of {_shown(what)} were denied, {done} were done. Are they yours?"
        raise PoolError(msg)
    return int(answer.get("TotalSuccess", 0))


def edit(handle: Any, ids: list[str], values: Mapping[str, str]) -> None:
    """Set attributes, given as ClassAd expressions, on all of the jobs.

    PoolError where the schedd refuses, as for one job that is no more in the queue or is not ours; the others
    are then not changed either.
    """
    for name, value in values.items():
        try:
            handle.edit(ids, name, value)
        except htcondor2.HTCondorException as error:
            if not str(error).startswith("Unable to"):
                raise
            msg = f"{name} of {_shown(ids)} was not set to {value}: {' '.join(str(error).split())}"
            raise PoolError(msg) from error


def exclusion(machines: Collection[str], sites: Collection[str]) -> dict[str, str]:
    """Return the attributes that keep a job off these nodes and sites; PoolError for an impossible name."""
    try:
        return {EXCLUDED_HOSTS: quoted(name_list(machines)), EXCLUDED_SITES: quoted(name_list(sites))}
    except ValueError as error:
        msg = f"nothing was excluded: {error}"
        raise PoolError(msg) from error


def unlike(values: Mapping[str, str]) -> str:
    """Return the constraint for jobs that have other values; a missing one is like an empty text."""
    return "(" + " || ".join(f'({name} ?: "") =!= {value}' for name, value in values.items()) + ")"


def _shown(what: list[str] | str) -> str:
    """Return the jobs concerned, for a person."""
    text = what if isinstance(what, str) else ", ".join(what)
    return text if len(text) <= 200 else text[:200] + " …"
