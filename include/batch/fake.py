"""A pool and a ledger without HTCondor and a database: test doubles, shipped so that others may use them.

The pool's state is a JSON file, so that all processes of a test (the watcher's helper, a stand-in for
jobsub_submit) see the same pool.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from include.batch.node_counts import Ending, failing_nodes, suspects
from include.batch.pool import Awaited, ClusterCounts, ClusterId, Counted, HistoryReach, JobAd, TaggedCluster
from include.batch.tagged import tagged_clusters
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError, PoolError, ScheddUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from include.bookkeeping.records import Submission

FACTORY = "include.batch.fake:FakePool"
"""For PoolProcess and watcher_for, with the arguments {"path": …}."""


class FakePool:
    """Implements `include.batch.pool.Pool` on a JSON file; `path` is created where it is missing."""

    def __init__(self, path: str, schedds: tuple[str, ...] = ("ap1@fake",)) -> None:
        self._path = Path(path)
        with self._lock():
            if not self._path.exists():
                empty = {"up": True, "hangs": False, "listed": True, "next": 1, "jobs": []}
                self._write({"schedds": {name: dict(empty) for name in schedds}})

    def schedds(self) -> tuple[str, ...]:
        """See Pool."""
        self._note("schedds")
        return tuple(sorted(name for name, schedd in self._read()["schedds"].items() if schedd["listed"]))

    def find_tag(self, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """See Pool."""
        return tuple(sorted({c for name in self.schedds() for c in self.find_tag_in(name, tag, since=since)}))

    def find_tag_in(self, schedd: str, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """See CondorPool."""
        self._note(f"find_tag_in {since is not None}")
        found = {job["cluster"] for job in self._jobs(schedd) if job["tag"] == tag}
        return tuple(ClusterId(schedd=schedd, cluster=cluster) for cluster in sorted(found))

    def history_reach(self, schedd: str, *, before: float) -> HistoryReach:
        """See Pool; it reaches back for ever unless `set_history` says otherwise."""
        self._jobs(schedd)
        oldest = self._read()["schedds"][schedd].get("oldest", 0)
        return HistoryReach(reaches=oldest is not None and oldest < before, oldest=oldest)

    def counts(
        self, schedd: str, clusters: Mapping[Counted, int], *, now: float
    ) -> dict[Counted, ClusterCounts]:
        """See Pool."""
        self._note(f"counts {len(clusters)}")
        jobs: dict[int, list[dict[str, Any]]] = {}
        for job in self._jobs(schedd):
            jobs.setdefault(job["cluster"], []).append(job)
        found = {}
        for key, total in clusters.items():
            cluster, tag = Awaited(key) if isinstance(key, int) else key
            own = [job for job in jobs.get(cluster, ()) if tag is None or job["tag"] == tag]
            found[key] = _counted(total, own, now)
        return found

    def ads(self, schedd: str, clusters: Collection[int]) -> list[JobAd]:
        """See Pool."""
        self._note("ads")
        known = [job for job in self._jobs(schedd) if job["cluster"] in clusters]
        return [_ad(schedd, job) for job in known if job["status"] != JobStatus.UNKNOWN]

    def tagged(self, schedd: str) -> tuple[TaggedCluster, ...]:
        """See Pool."""
        self._note("tagged")
        rows = [{**job, "jobs": 1, "queued_at": job["since"], "owner": "fake"} for job in self._jobs(schedd)]
        return tagged_clusters(schedd, machine=schedd.rpartition("@")[2], rows=rows)

    def remove(self, schedd: str, clusters: Collection[int], *, reason: str) -> None:
        """See Pool."""
        self._note(f"remove {reason}")
        self._jobs(schedd)  # says whether it answers
        for cluster in clusters:
            self.set_status(schedd, cluster, JobStatus.REMOVED)

    def remove_jobs(self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str) -> int:
        """See Pool."""
        self._note(f"remove_jobs {len(jobs)} {reason}")
        with self._some(schedd, jobs, JobStatus.HELD) as found:
            for job in found:
                job.update(status=int(JobStatus.REMOVED), since=time.time())
        return len(found)

    def release_jobs(
        self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str, memory_mb: int | None = None
    ) -> int:
        """See Pool."""
        self._note(f"release_jobs {len(jobs)} {memory_mb} {reason}")
        with self._some(schedd, jobs, JobStatus.HELD) as found:
            for job in found:
                job.update(status=int(JobStatus.IDLE), since=time.time())
                if memory_mb is not None:
                    job["ad"]["requested_memory_mb"] = memory_mb
        return len(found)

    def exclude(
        self, schedd: str, clusters: Collection[int], *, machines: Collection[str], sites: Collection[str]
    ) -> int:
        """See Pool; `excluded` tells what was set."""
        lists = [sorted(set(machines)), sorted(set(sites))]
        self._note(f"exclude {','.join(lists[0])} {','.join(lists[1])}".rstrip())
        jobs = [(job["cluster"], job["process"]) for job in self._jobs(schedd) if job["cluster"] in clusters]
        with self._some(schedd, jobs, JobStatus.IDLE, JobStatus.HELD) as found:
            changed = [job for job in found if job["excluded"] != lists]
            for job in changed:
                job["excluded"] = lists
        return len(changed)

    def excluded(self, schedd: str, cluster: int) -> dict[int, tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the nodes and sites that each process of a cluster was last told to avoid."""
        return {
            job["process"]: (tuple(job["excluded"][0]), tuple(job["excluded"][1]))
            for job in self._jobs(schedd)
            if job["cluster"] == cluster
        }

    def submit(
        self,
        schedd: str,
        tag: str | None,
        jobs: int,
        *,
        status: JobStatus = JobStatus.IDLE,
        machines: Collection[str] = (),
        sites: Collection[str] = (),
        **ad: Any,
    ) -> int:
        """Add a cluster whose request excludes these nodes and sites, and return its number.

        Further fields of its jobs' JobAd, such as first_unit=50, are as given.
        """
        lists = [sorted(set(machines)), sorted(set(sites))]
        with self._lock():
            state = self._read()
            cluster = int(state["schedds"][schedd]["next"])
            state["schedds"][schedd]["next"] = cluster + 1
            job: dict[str, Any] = {
                "cluster": cluster,
                "tag": tag,
                "status": int(status),
                "since": time.time(),
                "exit": None,
            }
            job |= {"host": None, "wall": None, "excluded": lists, "ad": ad}
            state["schedds"][schedd]["jobs"] += [{**job, "process": process} for process in range(jobs)]
            self._write(state)
        return cluster

    def set_status(
        self,
        schedd: str,
        cluster: int,
        status: JobStatus,
        *,
        processes: Collection[int] | None = None,
        since: float | None = None,
        exit_code: int | None = None,
        host: str | None = None,
        wall_s: float | None = None,
    ) -> None:
        """Move jobs to another state; UNKNOWN is one that neither queue nor history knows.

        `host` is where they run or ran, as slot1@wn1.pool; only jobs with one count for suspects, those
        completed with an exit code other than 0 as bad.
        """
        with self._picked(schedd, cluster, processes) as jobs:
            for job in jobs:
                moved_at = time.time() if since is None else since
                job.update(status=int(status), since=moved_at, exit=exit_code, wall=wall_s)
                job["host"] = host or job["host"]

    def change_ads(
        self, schedd: str, cluster: int, *, processes: Collection[int] | None = None, **fields: Any
    ) -> None:
        """Set fields of the jobs' JobAd, such as hold_code=34 or rows=2."""
        with self._picked(schedd, cluster, processes) as jobs:
            for job in jobs:
                job["ad"].update(fields)

    def lose_queue(self, schedd: str) -> None:
        """Let a schedd forget every job and give out cluster numbers from 1 again."""
        with self._lock():
            state = self._read()
            state["schedds"][schedd].update(jobs=[], next=1)
            self._write(state)

    def set_history(self, schedd: str, oldest: int | None) -> None:
        """Let a schedd's history reach back to an end at `oldest`, epoch seconds; None: it has no row."""
        with self._lock():
            state = self._read()
            state["schedds"][schedd]["oldest"] = oldest
            self._write(state)

    def set_schedd(
        self, schedd: str, *, up: bool | None = None, hangs: bool | None = None, listed: bool | None = None
    ) -> None:
        """Let a schedd stop to answer, answer never, or leave the collector."""
        with self._lock():
            state = self._read()
            changes = {"up": up, "hangs": hangs, "listed": listed}
            state["schedds"][schedd].update(
                {key: value for key, value in changes.items() if value is not None}
            )
            self._write(state)

    def calls(self) -> list[str]:
        """Return what was asked so far, by any process."""
        path = self._path.with_suffix(".calls")
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def _jobs(self, schedd: str) -> list[dict[str, Any]]:
        """Return a schedd's jobs; ScheddUnreachable where it does not answer."""
        state = self._read()["schedds"].get(schedd)
        while state is not None and state["hangs"]:
            time.sleep(60)
        if state is None or not state["up"]:
            msg = f"{schedd} did not answer"
            raise ScheddUnreachable(msg)
        jobs: list[dict[str, Any]] = state["jobs"]
        return jobs

    @contextlib.contextmanager
    def _picked(
        self, schedd: str, cluster: int, processes: Collection[int] | None
    ) -> Iterator[list[dict[str, Any]]]:
        """Give a cluster's jobs, all or some, and write what is changed on them."""
        with self._lock():
            state = self._read()
            jobs = [job for job in state["schedds"][schedd]["jobs"] if job["cluster"] == cluster]
            yield [job for job in jobs if processes is None or job["process"] in processes]
            self._write(state)

    @contextlib.contextmanager
    def _some(
        self, schedd: str, jobs: Collection[tuple[int, int]], *states: JobStatus
    ) -> Iterator[list[dict[str, Any]]]:
        """Give those of the jobs that are in one of the states, and write what is changed on them."""
        self._jobs(schedd)
        with self._lock():
            state = self._read()
            wanted = {tuple(job) for job in jobs}
            known = state["schedds"][schedd]["jobs"]
            yield [
                job for job in known if job["status"] in states and (job["cluster"], job["process"]) in wanted
            ]
            self._write(state)

    def _note(self, call: str) -> None:
        """Append to the list of calls."""
        with self._path.with_suffix(".calls").open("a", encoding="utf-8") as file:
            file.write(call + "\n")

    def _read(self) -> dict[str, Any]:
        """Return the whole state."""
        data: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
        return data

    def _write(self, state: dict[str, Any]) -> None:
        """Replace the whole state."""
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps(state), encoding="utf-8")
        part.replace(self._path)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Keep other writers out."""
        with self._path.with_suffix(".lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def broken_pool() -> FakePool:
    """Fail as a pool with a wrong configuration does; for PoolProcess."""
    msg = "CONDOR_CONFIG names no file"
    raise PoolError(msg)


class FakeLedger:
    """Implements `include.batch.submission.LedgerPort` in memory."""

    def __init__(self, *rows: Submission) -> None:
        self.rows = {row.tag: row for row in rows}

    def submission(self, tag: str) -> Submission | None:
        """See LedgerPort."""
        return self.rows.get(tag)

    def record_submitted(
        self,
        tag: str,
        *,
        clusters: tuple[tuple[str, int, int], ...],
        message: str,
        now: float,
        first_units: tuple[int, ...] = (),
    ) -> None:
        """See LedgerPort."""
        row = self.rows[tag]
        if row.state not in {SubmissionState.INTENDED, SubmissionState.REFUSED}:
            msg = f"{tag} is {row.state}"
            raise LedgerError(msg)
        self.rows[tag] = replace(
            row,
            state=SubmissionState.SUBMITTED,
            clusters=clusters,
            message=message,
            submitted_at=now,
            first_units=first_units if any(first_units) else (),
        )

    def record_refused(self, tag: str, *, message: str, now: float) -> None:  # noqa: ARG002  # the port's signature
        """See LedgerPort."""
        self.rows[tag] = replace(self.rows[tag], state=SubmissionState.REFUSED, message=message)


def _counted(total: int, jobs: list[dict[str, Any]], now: float) -> ClusterCounts:
    """Return counts as a pool would."""
    states = Counter(job["status"] for job in jobs)
    held = [int(now - job["since"]) for job in jobs if job["status"] == JobStatus.HELD]
    placed = [job for job in jobs if job["host"] is not None]
    endings = [
        Ending(machine=_machine(job), ok=job["exit"] == 0, wall_s=job["wall"] or 0.0)
        for job in placed
        if job["status"] == JobStatus.COMPLETED
    ]
    running = [(_machine(job), now - job["since"]) for job in placed if job["status"] == JobStatus.RUNNING]
    known = [JobStatus.IDLE, JobStatus.RUNNING, JobStatus.HELD, JobStatus.COMPLETED, JobStatus.REMOVED]
    return ClusterCounts(
        total=total,
        idle=states[JobStatus.IDLE],
        running=states[JobStatus.RUNNING],
        held=len(held),
        completed=states[JobStatus.COMPLETED],
        removed=states[JobStatus.REMOVED],
        unknown=total - sum(states[status] for status in known),
        held_longest_s=max(held, default=0),
        held_shortest_s=min(held, default=0),
        suspects=suspects(endings, running),
        failing_nodes=failing_nodes(endings),
    )


def _machine(job: dict[str, Any]) -> str:
    """Return the node of a job's host."""
    return str(job["host"]).rpartition("@")[2]


def _ad(schedd: str, job: dict[str, Any]) -> JobAd:
    """Return the ad of one of the fake's jobs."""
    status = JobStatus(job["status"])
    since = int(job["since"])
    ad = JobAd(
        schedd=schedd,
        cluster=job["cluster"],
        process=job["process"],
        global_job_id=f"{schedd}#{job['cluster']}.{job['process']}#{since}",
        tag=job["tag"],
        status=status,
        exit_code=job["exit"],
        exit_signal=None,
        hold_code=1 if status is JobStatus.HELD else None,
        hold_subcode=0 if status is JobStatus.HELD else None,
        hold_reason="held by hand" if status is JobStatus.HELD else None,
        remove_reason="removed by hand" if status is JobStatus.REMOVED else None,
        host=job["host"] or "wn1",
        site=None,
        starts=1,
        shadow_starts=1,
        queued_at=since,
        started_at=since,
        ended_at=since if status.ended else None,
        status_since=since,
        wall_s=job["wall"],
        cpu_s=None,
        memory_mb=None,
    )
    return replace(ad, **job["ad"])
