"""The records that go into and come out of the ledger; times are epoch seconds (float, UTC)."""

from __future__ import annotations

from dataclasses import dataclass

from include.campaign.states import JobStatus, Outcome, OutputState, SubmissionState  # noqa: TC001  get_type_hints resolves them


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One pass of a campaign's stages with one run number."""

    dag_id: str
    tranche: str
    """Key of the dag_run: its data interval's start for scheduled runs, so that a backfill finds the same
    slices; the dag_run id for runs triggered by hand."""
    index: int
    """0..slices-1 in its tranche."""
    run: int
    first_subrun: int
    subruns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one process of a submission makes: one subrun, or a merge's range of them."""

    process: int
    first_subrun: int
    last_subrun: int
    inputs: tuple[tuple[str, tuple[str, ...]], ...]
    """(input name, paths), in the order of the stage's inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One act of sending one stage's jobs."""

    tag: str
    dag_id: str
    tranche: str
    run: int
    stage: str
    recovery: int
    """0 for the first submission, n for the n-th recovery."""
    state: SubmissionState
    units: tuple[Unit, ...]
    """One a process, in order of process."""
    clusters: tuple[tuple[str, int, int], ...]
    """(schedd, cluster, jobs); empty until submitted."""
    work_dir: str
    """Folder with what was sent: job.json and the command."""
    message: str
    """jobsub_submit's output, or why it was refused."""
    intended_at: float
    submitted_at: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """What is known of one job, once the check has looked."""

    schedd: str
    cluster: int
    process: int
    unit: int
    """Index into the submission's units."""
    global_job_id: str
    status: JobStatus
    exit_code: int | None
    exit_signal: int | None
    hold_code: int | None
    hold_subcode: int | None
    reason: str
    """Hold or remove reason; empty where there is none."""
    host: str | None
    site: str | None
    starts: int
    queued_at: float | None
    started_at: float | None
    ended_at: float | None
    wall_s: float | None
    cpu_s: float | None
    memory_mb: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRecord:
    """One start of a job on a node, as its own report tells it."""

    execution: str
    """Its unique name, `cluster.process.start-hex8`."""
    schedd: str
    cluster: int
    process: int
    host: str | None
    site: str | None
    started_at: float
    ended_at: float
    exit_code: int | None
    exit_signal: int | None
    error: str
    """Empty where it went well."""
    log: str
    """Path of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRecord:
    """One file that an execution published."""

    execution: str
    stage: str
    name: str
    """The output's name in the spec."""
    run: int
    first_subrun: int
    last_subrun: int
    path: str
    size: int
    """Bytes."""
    sha256: str
    adler32: str
    """8 hex digits."""
    events: int | None
    state: OutputState


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A verdict on one process of a submission."""

    process: int
    first_subrun: int
    last_subrun: int
    check: str
    outcome: Outcome
    reason: str
    evidence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVerdict:
    """Why a process left its subruns without an accepted output: the verdict that decided."""

    stage: str
    run: int
    tag: str
    verdict: VerdictRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressSample:
    """One submission's jobs by state at one moment."""

    tag: str
    at: float
    idle: int
    running: int
    held: int
    completed: int
    removed: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeGroup:
    """One merged file that is planned: subruns first..last of one run, contiguous."""

    process: int
    first_subrun: int
    last_subrun: int
    inputs: tuple[str, ...]
    """Paths in subrun order."""
    bytes: int
    """Sum of the inputs' sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageProgress:
    """Subruns of one stage in one tranche (or one slice) by what the ledger says of them."""

    stage: str
    subruns: int
    accepted: int
    missing: int
    unknown: int
    duplicates: int
    """Output files beyond the accepted one."""
