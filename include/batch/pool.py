"""What prodsys asks of a batch system, and the records it gets back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from include.campaign.states import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ClusterId:
    """One cluster on one schedd; cluster numbers alone repeat between schedds."""

    schedd: str
    cluster: int

    def __str__(self) -> str:
        return f"{self.cluster}@{self.schedd}"


class Awaited(NamedTuple):
    """One cluster of a schedd that somebody waits for; a plain tuple of the same is the same key."""

    cluster: int
    tag: str | None = None
    """Only jobs with it count: a schedd that lost its queue gives numbers out again. None: all count."""


Counted = TypeVar("Counted", int, Awaited)
"""What is counted: a cluster whatever its jobs' tag, or one with its tag."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAd:
    """The attributes of one job that prodsys uses, from a queue or a history.

    Source: HTCondor manual, Job ClassAd Attributes. Times are epoch seconds, None where the ad has none.
    """

    schedd: str
    cluster: int
    process: int
    global_job_id: str
    tag: str | None
    """ProdsysTag."""
    status: JobStatus
    exit_code: int | None
    """ExitCode, None where the job ended by a signal or has not ended."""
    exit_signal: int | None
    """ExitSignal, only where ExitBySignal is true (it can be stale otherwise)."""
    hold_code: int | None
    hold_subcode: int | None
    hold_reason: str | None
    remove_reason: str | None
    host: str | None
    """RemoteHost, else LastRemoteHost."""
    site: str | None
    """MATCH_GLIDEIN_Site, where the pool has it."""
    starts: int
    """NumJobStarts; undercounts after a shadow's death."""
    shadow_starts: int
    """NumShadowStarts; overcounts after a reconnect."""
    queued_at: int | None
    started_at: int | None
    """JobCurrentStartDate, else JobStartDate."""
    ended_at: int | None
    """CompletionDate, else EnteredCurrentStatus of a removed job."""
    status_since: int | None
    """EnteredCurrentStatus."""
    wall_s: float | None
    """RemoteWallClockTime."""
    cpu_s: float | None
    """RemoteUserCpu + RemoteSysCpu."""
    memory_mb: int | None
    """MemoryUsage."""
    reconnects: int = 0
    """NumJobReconnects."""
    holds: int = 0
    """NumHolds."""
    evictions: int = 0
    """NumVacates, where the ad has it."""
    rows: int = 1
    """Ads that queue and history have of this job; more than one: it ended more than once."""
    requested_memory_mb: int | None = None
    """RequestMemory."""
    event_log: str | None = None
    """UserLog: path of the job event log, on the schedd's machine."""
    first_unit: int = 0
    """`--first-unit` among its arguments: its cluster's process 0 makes this unit."""
    is_dagman: bool = False
    """It runs a DAG and makes nothing itself: JobUniverse 7 is the scheduler's."""

    @property
    def machine(self) -> str | None:
        """The node as the pool names it: `host` without the slot."""
        return None if self.host is None else self.host.rpartition("@")[2]

    @property
    def job_id(self) -> str:
        """`cluster.process@schedd`."""
        return f"{self.cluster}.{self.process}@{self.schedd}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCounts:
    """How one cluster's jobs fare on one node compared with those on the others, while it runs."""

    machine: str
    good: int
    """Ended with exit code 0 there."""
    bad: int
    """Ended otherwise there; held and removed jobs are not counted."""
    bad_slowest_s: float
    """Wall time of the slowest of the bad ones."""
    peers_outlasted: int
    """Jobs on other nodes that run, or ran, for longer than that; those of the next number are not in it."""
    peers_failed_fast: int
    """Jobs on other nodes that failed within 1.5 times that and 5 s."""
    peer_nodes: int
    """Other nodes that the two numbers before are from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterCounts:
    """One cluster's jobs by state; `total` is what was submitted, the rest sums to it."""

    total: int
    idle: int = 0
    running: int = 0
    held: int = 0
    completed: int = 0
    removed: int = 0
    unknown: int = 0
    """Left the queue and not (yet) proven ended by history."""
    held_longest_s: int = 0
    """Seconds for which the job held longest has been held."""
    held_shortest_s: int = 0
    """Seconds for which the job held last has been held."""
    suspects: tuple[NodeCounts, ...] = ()
    """Nodes on which at least two of the cluster's jobs failed, and most of those that ended there."""
    failing_nodes: int = 0
    """Nodes on which jobs failed and none ended well."""

    @property
    def ended(self) -> int:
        """Jobs that history proves ended."""
        return self.completed + self.removed


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryReach:
    """How far back one schedd's history reaches."""

    reaches: bool
    """Whether it surely holds every job that left the queue since the moment asked about."""
    oldest: int | None
    """An end of a job that it holds, epoch seconds: the earliest if it does not reach; None: no row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedCluster:
    """One cluster in a schedd's queue whose jobs carry a tag of prodsys."""

    id: ClusterId
    machine: str
    """The schedd's machine: jobsub may have called the schedd by it."""
    tag: str
    owner: str
    idle: int
    running: int
    held: int
    queued_at: float | None
    """When the oldest of these jobs was queued, epoch seconds."""

    @property
    def live(self) -> int:
        """Jobs that run or may run again."""
        return self.idle + self.running + self.held

    def is_cluster(self, schedd: str, cluster: int) -> bool:
        """Whether this is `cluster` of the schedd or machine that somebody calls `schedd`."""
        return cluster == self.id.cluster and schedd in (self.id.schedd, self.machine)


class Pool(Protocol):
    """A pool of schedds; every method raises ScheddUnreachable when it gets no answer."""

    def schedds(self) -> tuple[str, ...]:
        """Return the names of every schedd that may hold our jobs."""

    def find_tag(self, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """Return the clusters whose jobs carry `tag`, in any schedd's queue or history, sorted.

        With `since` (epoch seconds), history need not be read further back than a day before that.
        """

    def history_reach(self, schedd: str, *, before: float) -> HistoryReach:
        """Return whether one schedd's history reaches back to before an epoch time: it rotates."""

    def counts(
        self, schedd: str, clusters: Mapping[Counted, int], *, now: float
    ) -> dict[Counted, ClusterCounts]:
        """Return counts for one schedd's clusters, given as cluster → jobs submitted, by few queries.

        Where a tag is awaited, only jobs that have it count.
        """

    def ads(self, schedd: str, clusters: Collection[int]) -> list[JobAd]:
        """Return one ad for each job of the clusters that the queue or the history knows."""

    def tagged(self, schedd: str) -> tuple[TaggedCluster, ...]:
        """Return the clusters in the queue that have a tag and jobs that have not ended, in order."""

    def remove(self, schedd: str, clusters: Collection[int], *, reason: str) -> None:
        """Remove the clusters' jobs from the queue, giving `reason`."""

    def remove_jobs(self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str) -> int:
        """Remove those of the jobs, given as (cluster, process), that are held; return how many were."""

    def release_jobs(
        self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str, memory_mb: int | None = None
    ) -> int:
        """Release those of the jobs that are held, with another RequestMemory if given; return how many."""

    def exclude(
        self, schedd: str, clusters: Collection[int], *, machines: Collection[str], sites: Collection[str]
    ) -> int:
        """Keep the clusters' idle and held jobs off these nodes and sites from now on; return how many jobs.

        The lists replace earlier ones. Jobs that run already run on.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherCall:
    """An experiment's own program that submits in place of our call; docs/launchers.md."""

    script: str
    """Absolute path."""
    arguments: tuple[str, ...]
    folder: str
    """The submission's work folder, absolute: it runs there, and its output is kept there."""
    job_file: str
    variables: tuple[tuple[str, str], ...]
    """What it is told beside the request, as (name, value) of its environment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitRequest:
    """One submission: a call of jobsub_submit, or of what calls it."""

    executable: str
    """Absolute path."""
    arguments: tuple[str, ...]
    jobs: int
    """Processes in all, at least 1; in one cluster unless a launcher submits."""
    group: str
    role: str | None
    tag: str
    memory_mb: int
    disk_kb: int
    cpus: int
    lifetime_s: int
    files: tuple[str, ...]
    """Absolute paths, uploaded as `-f dropbox://PATH`; found in $CONDOR_DIR_INPUT by their base names."""
    environment: tuple[tuple[str, str], ...]
    options: tuple[str, ...]
    """Further options, as they are."""
    excluded_machines: tuple[str, ...] = ()
    """Nodes that its jobs must not run on, as the pool names them."""
    excluded_sites: tuple[str, ...] = ()
    launcher: LauncherCall | None = None
    """What submits; None: our own call of jobsub_submit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitAnswer:
    """What jobsub_submit, or a launcher, said."""

    clusters: tuple[ClusterId, ...]
    output: str
    """Its output, standard error included."""
    exit_code: int | None = 0
    """None where it had to be killed."""


class Submitter(Protocol):
    """Sends jobs to a pool."""

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:
        """Submit, and return the clusters.

        Raises SubmissionRefused if it certainly submitted nothing, SubmissionAmbiguous if that is not certain
        (time-out, killed, no job id in the output).
        """

    def command(self, request: SubmitRequest) -> Sequence[str]:
        """Return the command line that `submit` would run."""
