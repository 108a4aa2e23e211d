"""Which unit each process of a submission's clusters makes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.bookkeeping.records import Submission


class Places:
    """The units of one submission, by schedd, cluster and process."""

    def __init__(self, submission: Submission) -> None:
        self._units = len(submission.units)
        self._recorded = len(submission.clusters)
        starts = submission.first_units or (0,) * self._recorded
        spans = sorted(
            (first, first + jobs, schedd, cluster)
            for (schedd, cluster, jobs), first in zip(submission.clusters, starts, strict=True)
        )
        self._first: dict[tuple[str, int], int | None] = {}
        """None where two clusters would make the same units, as in a DAG of one-job clusters."""
        self._numbers: dict[int, list[tuple[str, int]]] = {}
        reached, last = 0, None
        for first, end, schedd, cluster in spans:
            key = (schedd, cluster)
            self._numbers.setdefault(cluster, []).append(key)
            self._first[key] = first
            if last is not None and first < reached:
                self._first[key] = self._first[last] = None
            if end > reached:
                reached, last = end, key

    def unit_of(self, *, cluster: int, process: int, schedd: str | None = None) -> int | None:
        """Return the index of the unit that a process makes; None where nobody can tell.

        The schedd may be unknown, as in the name of an execution's folder, or named by its machine. Of a
        cluster that is not recorded, as one that somebody submitted again by hand, only a process above 0
        tells, and only beside one cluster: `--maxConcurrent` makes jobsub submit a DAG of one-job clusters,
        where each process is 0 and only the job itself knows its section.
        """
        keys = self._numbers.get(cluster, [])
        keys = [key for key in keys if key[0] == schedd] or keys
        if len(keys) > 1 or (not keys and (process == 0 or self._recorded > 1)):
            return None
        first = self._first[keys[0]] if keys else 0
        return None if first is None or first + process >= self._units else first + process
