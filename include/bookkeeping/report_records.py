"""What reports are made of: counts and sums over many rows; times are epoch seconds (float, UTC)."""

from __future__ import annotations

from dataclasses import dataclass

from include.campaign.states import ActionKind, OutputState  # noqa: TC001  get_type_hints resolves them


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportScope:
    """Which part of the ledger a report is about; None: all of it."""

    dag_id: str | None = None
    tranche: str | None = None
    experiment: str | None = None
    since: float | None = None
    """What happened before is left out: jobs by their end, outputs by their acceptance."""
    until: float | None = None
    """What happened then or later is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTally:
    """Jobs of one stage at one site."""

    dag_id: str
    stage: str
    site: str | None
    jobs: int
    good: int
    """Completed with exit code 0."""
    failed: int
    """Completed with another exit code, or by a signal."""
    removed: int
    held: int
    unknown: int
    """Not known to have ended, or not known how."""
    again: int
    """Starts beyond the first of each job."""
    wall_s: float
    """Of all jobs; of all starts of a job."""
    good_wall_s: float
    """Of the good ones."""
    cpu_s: float
    """Of the jobs whose CPU and wall time are both known."""
    measured_wall_s: float
    """Of the same jobs."""
    waited_s: float
    """From being queued to the first start that is known, summed over `waited` jobs."""
    waited: int
    memory_mb: int | None
    """The most that one of them used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionTally:
    """Submissions of one stage."""

    dag_id: str
    stage: str
    submissions: int
    """With the recoveries, without what was refused."""
    recoveries: int
    refused: int
    units: int
    """Processes that they were to have."""
    open_jobs: int
    """Jobs that are not known to have ended."""
    first_at: float
    """When the first was intended."""
    last_at: float
    """When one of them last changed its state."""
    unfinished: int
    """Intended or submitted, not ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTally:
    """Files of one output of one stage in one state, from one interval of time."""

    dag_id: str
    stage: str
    name: str
    state: OutputState
    accepted: bool
    """Whether they are, or were before their removal, the accepted ones."""
    interval: int
    """Of time, 0 for the first; always 0 where no intervals were asked for."""
    files: int
    bytes: int
    subruns: int
    events: int | None
    """None: none of them says how many it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CauseTally:
    """Failures of one stage that one rule of triage explains."""

    dag_id: str
    stage: str
    category: str
    rule: str
    """Empty: no rule fits."""
    failures: int
    """Processes; a process may have failed in more than one way."""
    nodes: int
    sites: int
    cause: str
    """Of one of them; so are the next two."""
    advice: str
    evidence: str
    wall_s: float
    """Spent by jobs whose first cause this is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Intervals of time of one width."""

    start: float
    width_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedMoment:
    """Jobs that ended in one interval of time."""

    interval: int
    good: int
    bad: int
    """Otherwise than with exit code 0, or removed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignCount:
    """How many of one kind a campaign has."""

    dag_id: str
    kind: str
    """A SubmissionState, or a category of triage."""
    number: int
    recoveries: int = 0
    """Of submissions: how many of them are recoveries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionTally:
    """How often one kind of thing was done."""

    kind: ActionKind
    by_people: bool
    times: int
