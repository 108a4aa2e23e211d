"""What crosses the log server's boundaries."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

BLOCK_BYTES = 64 << 10
"""Most bytes of log in one post, and in one row."""
DAY_S = 86400.0
LARGEST_OFFSET = 2**50
"""1 PB: no log is that long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobClaims:
    """What a job's token proves: whose log it may write."""

    tag: str
    """The submission's tag."""
    dag_id: str
    """The campaign, EXPERIMENT.NAME."""
    stage: str
    run: int
    jobs: int
    """Jobs of the submission."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What an execution says of itself; texts are cleaned and short, and none of it is proven."""

    cluster: int | None = None
    process: int | None = None
    schedd: str | None = None
    global_job_id: str | None = None
    host: str | None = None
    site: str | None = None
    first_subrun: int | None = None
    last_subrun: int | None = None
    node: str = "{}"
    """Node facts as JSON, docs/job-contract.md#node."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How an execution says that it ended."""

    exit_code: int
    """prodsys_job's own."""
    failed_at: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One piece of one execution's log, as a job sent it."""

    claims: JobClaims
    execution: str
    """The execution's name, CLUSTER.PROCESS.START-HEX8."""
    offset: int
    """Of the first byte of `data` in the job's log."""
    size: int
    """Bytes that the job's log has by now."""
    data: bytes
    """At most BLOCK_BYTES; empty: a heartbeat."""
    at: float
    facts: JobFacts | None = None
    end: JobEnd | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that the store takes."""

    job_bytes: int = 16 << 20
    """Of one execution's log; its oldest bytes make room for new ones."""
    submission_bytes: int = 4 << 30
    """Of one submission's logs; more is refused."""
    executions_per_job: int = 20
    """On average over a submission, plus a hundred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What became of a post."""

    have: int
    """Offset behind the last byte that is stored: what the job sends next."""
    refused: str = ""
    """Why nothing of it was stored, as it is counted; empty where it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogInfo:
    """One execution's log."""

    id: int
    tag: str
    dag_id: str
    stage: str
    run: int
    execution: str
    cluster: int | None
    process: int | None
    schedd: str | None
    global_job_id: str | None
    host: str | None
    site: str | None
    first_subrun: int | None
    last_subrun: int | None
    node: dict[str, Any]
    """Node facts, docs/job-contract.md#node; the job's word, to be escaped like all text."""
    category: str
    """Triage's category of the failure; empty: none, or not known."""
    began: float
    """When the first post came, epoch seconds."""
    seen: float
    """When the last post came: the heartbeat."""
    ended: float | None
    """When the job said that it ended; null: it runs, or ended without a word."""
    exit_code: int | None
    failed_at: str | None
    error: str | None
    size: int
    """Bytes that the job's log had at the last post."""
    have: int
    """Offset behind the last byte that is stored."""
    stored: int
    """Bytes that are stored; fewer than `have` where there are gaps."""

    @property
    def job_id(self) -> str:
        """The job as HTCondor names it, CLUSTER.PROCESS@SCHEDD, as far as it is known."""
        job = ".".join("?" if part is None else str(part) for part in (self.cluster, self.process))
        return f"{job}@{self.schedd}" if self.schedd else job

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {**asdict(self), "job_id": self.job_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line, fit to be shown as text (HTML must still be escaped): no control characters, not too long."""

    offset: int
    """Of its first byte in the job's log."""
    text: str
    missing: int = 0
    """Bytes that are not stored, before the next line; such a line has no text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPiece:
    """Consecutive lines of a log."""

    lines: tuple[LogLine, ...]
    start: int
    """Offset that the piece begins at."""
    stop: int
    """Offset to go on from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Which logs are meant; what is None is not asked for."""

    dag_id: str | None = None
    stage: str | None = None
    run: int | None = None
    subrun: int | None = None
    tag: str | None = None
    execution: str | None = None
    cluster: int | None = None
    process: int | None = None
    schedd: str | None = None
    host: str | None = None
    """The node's name, or the part before its first dot."""
    site: str | None = None
    category: str | None = None
    since: float | None = None
    """Text that came, or logs that were alive, at this time or later; epoch seconds."""
    until: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A line that was searched for."""

    log: LogInfo
    line: LogLine
    at: float
    """When it came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Before:
    """Where a search goes on: at what is older than a line."""

    block: int
    """The id of the line's block."""
    offset: int = 0
    """Of the line in its log; 0: all of the block is done."""

    @classmethod
    def parse(cls, text: str) -> Before:
        """Read what `str` made; ValueError if it is something else."""
        block, _, offset = text.partition(":")
        return cls(block=int(block), offset=int(offset))

    def __str__(self) -> str:
        """Return it as text for an address."""
        return f"{self.block}:{self.offset}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, the newest first."""

    hits: tuple[Hit, ...] = field(default=())
    before: Before | None = None
    """Where to go on for older ones; null: there are no more."""
    complete: bool = True
    """False: it stopped because it took too long, and there may be more."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values: each log once, however many of its lines are hits."""
        logs = {hit.log.id: hit.log for hit in self.hits}
        return {
            "logs": [log.to_dict() for log in logs.values()],
            "hits": [{"log": hit.log.id, "line": asdict(hit.line), "at": hit.at} for hit in self.hits],
            "before": None if self.before is None else str(self.before),
            "complete": self.complete,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is kept."""

    days: float
    """Since a log's last post; 0: no limit."""
    total_bytes: int
    """Of all logs together; the oldest go first; 0: no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """What was removed."""

    logs: int
    freed: int
    """Bytes of log."""
