"""HTCondor through its Python bindings.

A call of the bindings holds the GIL until it returns, and `history` of a schedd that hangs never does:
long-lived processes and whoever must not hang use this through `include.batch.pool_process.PoolProcess`.

htcondor2 reads CONDOR_CONFIG from the environment when it is imported. Import this module late and by name.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

import htcondor2  # noqa: TID253  # nothing on the parse path imports this module

from include.batch.condor_actions import HELD, WAITING, act, edit, exclusion, unlike
from include.batch.condor_ads import (
    AD_PROJECTION,
    FEW_CLUSTERS,
    TAGGED,
    TAGGED_PROJECTION,
    job_ad,
    of_clusters,
    of_tag,
    one_a_job,
    rows_of,
    status_of,
    tagged_job,
)
from include.batch.condor_counts import FULL_SCAN_MOST_S, Ended, count_cluster, note_ending
from include.batch.condor_history import long_gone, reach
from include.batch.condor_queue import FEW_JOBS, ask_fresh, ask_queue
from include.batch.node_counts import ENDING_PROJECTION
from include.batch.pool import Awaited, ClusterCounts, ClusterId, Counted, JobAd, TaggedCluster
from include.batch.tagged import tagged_clusters
from include.campaign.states import JobStatus
from include.errors import PoolError, ScheddUnlisted, ScheddUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from include.batch.condor_queue import QueueRows
    from include.batch.pool import HistoryReach

log = logging.getLogger(__name__)

LOCATION_PROJECTION = ["Name", "Machine", "MyAddress", "CondorVersion", "IsJobsubLite"]
LINGERING_PROJECTION = ["ClusterId", "ProcId", "ProdsysTag", *ENDING_PROJECTION]
HISTORY_PROJECTION = ["JobStatus", "EnteredCurrentStatus", *LINGERING_PROJECTION]
FAILURES = (htcondor2.HTCondorException, OSError, RuntimeError)
LOCATION_S = 60.0
"""How long a schedd's address is believed without asking the collector."""
HISTORY_SLACK_S = 60
"""History rows are nearly in order of their end; one this much older than the newest ends a short scan."""
TRIES = 3
"""A job may leave the queue between the look and the change, which denies the change of all."""


class CondorPool:
    """The pool that CONDOR_CONFIG names; implements `include.batch.pool.Pool`.

    Not thread-safe. It remembers what history proved, so one long-lived object polls cheaply.
    """

    def __init__(self, *, required: Collection[str] = ()) -> None:
        self._required = tuple(sorted(required))
        """Schedds that must be there whatever the collector says."""
        self._locations: dict[str, Any] = {}
        self._located_at = float("-inf")
        self._ended: dict[tuple[str, Awaited], Ended] = {}
        self._newest: dict[str, int] = {}
        """Schedd → latest EnteredCurrentStatus seen in its history."""

    def schedds(self) -> tuple[str, ...]:
        """Return the schedds jobsub submits to; every schedd in a pool without such marks.

        ScheddUnreachable where the collector does not answer, lists none, or lacks a required one: a schedd
        that is down leaves the collector, its jobs do not leave the schedd.
        """
        self._locate()
        jobsub = [name for name, ad in self._locations.items() if ad.get("IsJobsubLite") is True]
        names = jobsub or list(self._locations)
        missing = sorted(set(self._required) - set(self._locations))
        if missing or not names:
            what = f"does not list {', '.join(missing)}" if missing else "lists no schedd"
            msg = f"the collector {self._collector_name()} {what}. See `condor_status -schedd`."
            raise ScheddUnreachable(msg)
        return tuple(sorted({*names, *self._required}))

    def find_tag(self, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """Return the clusters with `tag` in any schedd's queue or history; every schedd must answer.

        With jobsub's --maxConcurrent each job is a cluster of its own under a DAGMan cluster without the tag:
        such a submission is found as many clusters, and prodsys refuses to make one.
        """
        found = {
            cluster for schedd in self.schedds() for cluster in self.find_tag_in(schedd, tag, since=since)
        }
        return tuple(sorted(found))

    def find_tag_in(self, schedd: str, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """Return the clusters with `tag` in one schedd's queue or history.

        The queue is asked first: a job moves from queue to history, never back but by a roll-back.
        """
        ads = self._query(schedd, of_tag(tag), ["ClusterId"])
        ads += self._history(schedd, of_tag(tag), ["ClusterId"], since=long_gone(since))
        return tuple(
            ClusterId(schedd=schedd, cluster=number) for number in sorted({ad["ClusterId"] for ad in ads})
        )

    def history_reach(self, schedd: str, *, before: float) -> HistoryReach:
        """See Pool."""
        what = f"history before {before:.0f}"
        return reach(
            lambda *how: list(self._ask(schedd, what, lambda handle: handle.history(*how))), before=before
        )

    def counts(
        self, schedd: str, clusters: Mapping[Counted, int], *, now: float
    ) -> dict[Counted, ClusterCounts]:
        """Count jobs by state with one queue query; many take two, three if one has none that wait or run.

        History is asked only for what left the queue, and the queue again for what lingers after its end.

        A removed job counts as removed while it still lingers in the queue (`X`): it never ends by itself.
        The schedd's own clock dates a hold when it is first seen, or `now` where it sends none.
        """
        awaited = {key: Awaited(key) if isinstance(key, int) else key for key in clusters}
        jobs = {awaited[key]: total for key, total in clusters.items()}
        self._forget(schedd, jobs)
        left = sum(max(0, total - len(self._record(schedd, each).status)) for each, total in jobs.items())
        ask = partial(self._query, schedd)
        queued = ask_queue(jobs, left, ask)
        self._prove(schedd, {each: jobs[each] - there.jobs for each, there in queued.items()})
        self._learn_lingering(schedd, queued)

        def count(each: Awaited) -> ClusterCounts:
            record = self._record(schedd, each)
            return count_cluster(jobs[each], queued[each], record, now, steady=time.monotonic())

        found = {each: count(each) for each in jobs}
        quiet = [each for each, there in found.items() if not there.idle and not there.running]
        if left > FEW_JOBS and quiet:
            # A wait may end by this: was one put back into the queue between the two answers?
            for each, fresh in ask_fresh(quiet, ask).items():
                queued[each] = replace(queued[each], fresh=fresh, fresh_is_news=True)
                found[each] = count(each)
        return {key: found[each] for key, each in awaited.items()}

    def ads(self, schedd: str, clusters: Collection[int]) -> list[JobAd]:
        """Return one ad a job, the latest where history has several; see `condor_ads.one_a_job`.

        Cluster numbers begin again at 1 when a schedd loses its job queue: compare the ads' tag.
        """
        wanted = set(clusters)
        queue = [
            ad
            for ad in self._query(schedd, of_clusters(wanted), [*AD_PROJECTION, "ServerTime"])
            if ad["ClusterId"] in wanted
        ]
        rows = [
            ad
            for ad in self._history(schedd, of_clusters(wanted), AD_PROJECTION)
            if ad["ClusterId"] in wanted
        ]
        return one_a_job(
            (job_ad(schedd, ad) for ad in queue),
            (job_ad(schedd, ad) for ad in rows),
            asked_at=min((ad["ServerTime"] for ad in queue if "ServerTime" in ad), default=None),
        )

    def tagged(self, schedd: str) -> tuple[TaggedCluster, ...]:
        """Return the clusters in one schedd's queue that have a tag and jobs not ended."""
        rows = [tagged_job(ad) for ad in self._query(schedd, TAGGED, TAGGED_PROJECTION, grouped=True)]
        machine = str(self._location(schedd).get("Machine", schedd))
        return tagged_clusters(schedd, machine=machine, rows=rows)

    def remove(self, schedd: str, clusters: Collection[int], *, reason: str) -> None:
        """Remove the clusters' jobs that are still queued; PoolError if the schedd denies it."""
        numbers = sorted(set(clusters))
        for first in range(0, len(numbers), FEW_CLUSTERS):
            self._remove(schedd, of_clusters(numbers[first : first + FEW_CLUSTERS]), reason)

    def _remove(self, schedd: str, constraint: str, reason: str) -> None:
        """Remove the jobs of a constraint."""
        self._ask(schedd, f"remove {constraint}", lambda handle: act(handle, "Remove", constraint, reason))

    def remove_jobs(self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str) -> int:
        """Remove those of the jobs that are held; PoolError if the schedd denies it."""
        return self._act(schedd, "Remove", self._of(schedd, jobs, HELD), reason)

    def release_jobs(
        self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str, memory_mb: int | None = None
    ) -> int:
        """Release those of the jobs that are held; their memory is changed first. PoolError if denied."""
        if memory_mb is None:
            held = self._of(schedd, jobs, HELD)
        else:
            memory = {"RequestMemory": str(memory_mb)}
            held = self._change(schedd, memory, lambda: self._of(schedd, jobs, HELD))
        return self._act(schedd, "Release", held, reason)

    def exclude(
        self, schedd: str, clusters: Collection[int], *, machines: Collection[str], sites: Collection[str]
    ) -> int:
        """Set the lists that the jobs' requirement reads; jobs that have these values are left alone.

        PoolError for a name that cannot be, or if the schedd denies it.
        """
        values = exclusion(machines, sites)
        wanted = set(clusters)
        constraint = f"({of_clusters(wanted)}) && {WAITING} && {unlike(values)}"

        def waiting() -> list[str]:
            found = self._query(schedd, constraint, ["ClusterId", "ProcId"])
            return [f"{ad['ClusterId']}.{ad['ProcId']}" for ad in found if ad["ClusterId"] in wanted]

        return len(self._change(schedd, values, waiting))

    def _of(self, schedd: str, jobs: Collection[tuple[int, int]], condition: str) -> list[str]:
        """Return the ids of those of the jobs that are queued and fulfil the condition."""
        wanted = set(jobs)
        clusters = of_clusters(cluster for cluster, _ in wanted)
        ads = self._query(schedd, f"({clusters}) && {condition}", ["ClusterId", "ProcId"]) if wanted else []
        keys = {(int(ad["ClusterId"]), int(ad["ProcId"])) for ad in ads}
        return [f"{cluster}.{process}" for cluster, process in sorted(keys & wanted)]

    def _act(self, schedd: str, action: str, ids: list[str], reason: str) -> int:
        """Act on jobs; return how many the schedd did."""
        if not ids:
            return 0
        done = self._ask(schedd, f"{action} {len(ids)} jobs", lambda handle: act(handle, action, ids, reason))
        return int(done)

    def _change(self, schedd: str, values: Mapping[str, str], find: Callable[[], list[str]]) -> list[str]:
        """Set attributes on the jobs that `find` gives; look again where one of them has gone meanwhile."""
        for left in reversed(range(TRIES)):
            ids = find()
            try:
                if ids:
                    what = f"set {', '.join(values)} of {len(ids)} jobs"
                    self._ask(schedd, what, partial(edit, ids=ids, values=values))
            except ScheddUnreachable:
                raise
            except PoolError:
                if not left:
                    raise
            else:
                return ids
        raise AssertionError

    def _prove(self, schedd: str, gone: Mapping[Awaited, int]) -> None:
        """Look in the history for jobs that have left the queue: `gone` is cluster → how many have.

        Each poll scans back only to where the last one was. A row may be late or out of order, so what is
        still missing gets a scan of the whole history, ever more rarely.
        """
        missing = {cluster for cluster, n in gone.items() if n > len(self._record(schedd, cluster).status)}
        if not missing:
            return
        clock = time.monotonic()
        first = {c for c in missing if self._record(schedd, c).next_full_scan == 0.0}
        if schedd in self._newest and missing - first:
            bound = self._newest[schedd] - HISTORY_SLACK_S
            since = f"ClusterId >= {min(c.cluster for c in gone)} && EnteredCurrentStatus < {bound}"
            self._learn(schedd, missing, since=since)
        due = {
            cluster
            for cluster in missing
            if (record := self._record(schedd, cluster)).next_full_scan <= clock
            and gone[cluster] > len(record.status)
        }
        if due:
            self._learn(schedd, due)
        for cluster in due:
            record = self._record(schedd, cluster)
            record.next_full_scan = clock + record.wait_s
            record.wait_s = min(2 * record.wait_s, FULL_SCAN_MOST_S)

    def _learn(self, schedd: str, clusters: Collection[Awaited], *, since: str | None = None) -> None:
        """Remember how the jobs of the clusters ended that history has, back to `since`."""
        wanted = of_clusters(each.cluster for each in clusters)
        rows = self._history(schedd, wanted, HISTORY_PROJECTION, since=since)
        for each, own in rows_of(clusters, rows).items():
            record = self._record(schedd, each)
            for row in own:
                # Rows come newest first: the last end of a job that ended twice is the one that counts.
                status = status_of(row.get("JobStatus"))
                if status.ended and record.note(row["ProcId"], status) is JobStatus.COMPLETED:
                    note_ending(record, row)
        entered = [at for row in rows if isinstance(at := row.get("EnteredCurrentStatus"), int)]
        if entered:
            self._newest[schedd] = max(self._newest.get(schedd, 0), *entered)

    def _learn_lingering(self, schedd: str, queued: Mapping[Awaited, QueueRows]) -> None:
        """Learn how completed jobs ended that a schedd keeps in its queue, as for `condor_submit -remote`.

        One more query, of those that completed since the last poll; most pools keep none.
        """
        new = [
            (cluster, int(ad.get("EnteredCurrentStatus", 0)))
            for cluster, there in queued.items()
            for ad in there.rows
            if ad.get("JobStatus") == JobStatus.COMPLETED
            and ad["ProcId"] not in self._record(schedd, cluster).endings
        ]
        if not new:
            return
        clusters, since = {cluster for cluster, _ in new}, min(entered for _, entered in new)
        wanted = of_clusters(each.cluster for each in clusters)
        constraint = f"({wanted}) && JobStatus == 4 && EnteredCurrentStatus >= {since}"
        found = self._query(schedd, constraint, LINGERING_PROJECTION)
        for cluster, ads in rows_of(clusters, found).items():
            for ad in ads:
                note_ending(self._record(schedd, cluster), ad)

    def _record(self, schedd: str, cluster: Awaited) -> Ended:
        """Return what is known of a cluster's ends."""
        return self._ended.setdefault((schedd, cluster), Ended())

    def _forget(self, schedd: str, clusters: Collection[Awaited]) -> None:
        """Drop what is known of clusters that nobody asks for any more."""
        for key in [key for key in self._ended if key[0] == schedd and key[1] not in clusters]:
            del self._ended[key]

    def _query(
        self, schedd: str, constraint: str, projection: Sequence[str], *, grouped: bool = False
    ) -> list[Any]:
        """Ask a schedd's queue; see AskQueue."""
        what, opts = f"queue where {constraint}", htcondor2.QueryOpts.GroupBy if grouped else 0
        return list(
            self._ask(schedd, what, lambda handle: handle.query(constraint, [*projection], opts=opts))
        )

    def _history(
        self, schedd: str, constraint: str, projection: list[str], since: str | None = None
    ) -> list[Any]:
        """Ask a schedd's history, newest rows first."""
        what = f"history where {constraint}"
        return list(self._ask(schedd, what, lambda handle: handle.history(constraint, projection, -1, since)))

    def _ask(self, schedd: str, what: str, ask: Callable[[Any], Any]) -> Any:
        """Ask one schedd, once more with its address looked up anew: a restarted schedd has another one."""
        self._locate()
        for fresh in (False, True):
            if fresh:
                self._locate(fresh=True)
            try:
                return ask(htcondor2.Schedd(self._location(schedd)))
            except FAILURES as error:
                if fresh or "Failed to connect" not in str(error):
                    self._unreachable(schedd, what, error)
        raise AssertionError

    def _unreachable(self, schedd: str, what: str, error: Exception) -> NoReturn:
        """Raise ScheddUnreachable."""
        shown = what if len(what) <= 200 else what[:200] + " …"
        msg = (
            f"{schedd} did not answer ({shown}): {' '.join(str(error).split())}. This says nothing about "
            f"its jobs. See `condor_status -schedd {schedd}`, and CONDOR_CONFIG."
        )
        self._located_at = float("-inf")
        raise ScheddUnreachable(msg) from error

    def _location(self, schedd: str) -> Any:
        """Return a schedd's ad by name, or by its machine where that has one schedd: jobsub prints either."""
        if schedd in self._locations:
            return self._locations[schedd]
        there = [ad for ad in self._locations.values() if ad.get("Machine") == schedd]
        if len(there) != 1:
            known = ", ".join(sorted(self._locations)) or "none"
            msg = (
                f"the collector {self._collector_name()} lists no schedd {schedd} (but {known}). Is it down?"
            )
            self._located_at = float("-inf")
            raise ScheddUnlisted(msg)
        return there[0]

    def _locate(self, *, fresh: bool = False) -> None:
        """Ask the collector where the schedds are, unless that is known."""
        if not fresh and time.monotonic() - self._located_at < LOCATION_S:
            return
        try:
            ads = htcondor2.Collector().query(htcondor2.AdType.Schedd, None, LOCATION_PROJECTION)
        except FAILURES as error:
            msg = f"the collector {self._collector_name()} did not answer: {' '.join(str(error).split())}"
            raise ScheddUnreachable(f"{msg}. Is the pool up, and does CONDOR_CONFIG name it?") from error
        self._locations = {str(ad["Name"]): ad for ad in ads if "MyAddress" in ad}
        self._located_at = time.monotonic()

    def _collector_name(self) -> str:
        """Return where the collector is, as configured."""
        return str(htcondor2.param.get("COLLECTOR_HOST", "(COLLECTOR_HOST is not set)"))
