"""The records that go into and come out of the ledger; times are epoch seconds (float, UTC)."""

from __future__ import annotations

from dataclasses import dataclass

from include.campaign.states import (  # noqa: TC001  get_type_hints resolves them
    ActionKind,
    JobStatus,
    Outcome,
    OutputState,
    Remedy,
    SubmissionState,
    SubrunState,
)


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
class RequestChanges:
    """What a recovery asks for in place of what the stage's plan says; None: as the plan."""

    memory_mb: int | None = None
    disk_kb: int | None = None
    lifetime_s: int | None = None
    machines: tuple[str, ...] = ()
    """Nodes that its jobs keep off, beside those excluded for everybody."""
    sites: tuple[str, ...] = ()


AS_PLANNED = RequestChanges()
"""What a first submission asks for."""


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
    changes: RequestChanges = AS_PLANNED
    first_units: tuple[int, ...] = ()
    """Unit that process 0 of each cluster makes, in the order of `clusters`; empty: unit 0 for each."""


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
class UnitState:
    """How one process of a submission stands after the latest check."""

    process: int
    state: SubrunState
    held: bool = False
    """Whether it is unknown because its job is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageUnit:
    """One process of one submission of a stage of a slice, with its latest state."""

    tag: str
    recovery: int
    process: int
    first_subrun: int
    last_subrun: int
    state: SubrunState | None
    """None: not judged yet."""
    held: bool
    submission: SubmissionState
    """Of its submission: jobs of an intended or refused one may not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisRecord:
    """Why one process of a submission left its subruns without an accepted output, as triage has it."""

    process: int
    first_subrun: int
    last_subrun: int
    category: str
    """A category of docs/triage.md, such as `memory`; `unclassified` where no rule fits."""
    rule: str
    """Name of the rule; empty where none fits."""
    cause: str
    """One sentence."""
    evidence: str
    """`FILE:LINE: text`, an attribute with its value, or a job id."""
    advice: str
    """What to do."""
    remedy: Remedy
    job_id: str
    host: str | None
    site: str | None
    exit_code: int | None
    exit_signal: int | None
    at: float | None
    """When the job ended, epoch seconds."""
    signature: str
    """Normalised text of the evidence, which groups what no rule fits."""
    shadow: str = ""
    """Name of the shadow rule that would have decided otherwise; empty where none would."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageDiagnosis:
    """A diagnosis and where it belongs."""

    dag_id: str
    tranche: str
    run: int
    stage: str
    tag: str
    diagnosis: DiagnosisRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRecord:
    """One thing done about a stage of a slice, or about a node, by prodsys or by a person."""

    at: float
    who: str
    """`prodsys`, or the person's user name."""
    kind: ActionKind
    dag_id: str
    tranche: str
    run: int | None
    stage: str
    tag: str
    """The submission concerned; empty where none is."""
    detail: str
    """One sentence."""
    jobs: tuple[str, ...] = ()
    """Job ids concerned, where it is about single jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A node or site that gets no more of our jobs for a while."""

    kind: str
    """`node` or `site`."""
    name: str
    """Machine as the pool names it, or GLIDEIN_Site."""
    since: float
    until: float
    by: str
    """`prodsys`, or the person's user name."""
    reason: str
    """One sentence with the numbers."""
    lifted_at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTally:
    """How jobs of one campaign stage ended on one node, over a span of time."""

    dag_id: str
    stage: str
    host: str
    site: str | None
    good: int
    bad: int
    """Ended with another exit code than 0, or by a signal; held and removed jobs are not counted."""
    bad_fast: int
    """Of those bad: took less than a tenth of the median wall time of the stage's good jobs (60 s where there
    is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFact:
    """What a worker's probe said of its node."""

    host: str
    """Machine as the pool names it."""
    site: str | None
    seen_at: float
    facts: tuple[tuple[str, str], ...]
    """(name, value) such as ("kernel", "6.1"), ("glidein", "…"), ("scratch_free_mb", "12000")."""
    cvmfs: tuple[tuple[str, int | None], ...]
    """(repository, revision); None where it could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRevision:
    """When a node was seen with one revision of a CVMFS repository."""

    host: str
    repository: str
    revision: int
    first_seen_at: float
    last_seen_at: float


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
