"""The records that the pages are made of; times are epoch seconds (float, UTC).

Those of which a look makes thousands are named tuples: a frozen dataclass costs ten times as much to make.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from include.campaign.states import SubmissionState  # noqa: TC001  get_type_hints resolves it


class TrancheFacts(NamedTuple):
    """One tranche and its slices."""

    dag_id: str
    tranche: str
    dag_run_id: str
    owner: str
    phase: str
    reserved_at: float
    slices: int
    finished: int
    """Slices whose cleanup is done."""
    in_flight: int
    """Slices that have a place in flight."""
    first_run: int
    last_run: int


class StageCount(NamedTuple):
    """What became of the subruns of a stage, in one slice or in a whole tranche."""

    dag_id: str
    tranche: str
    run: int | None
    """None: of all slices of the tranche."""
    stage: str
    number: int
    """The stage's place in the plan, from 0."""
    is_merge: bool
    subruns: int
    accepted: int
    missing: int
    held: int
    """Not accepted and not missing, since the latest check saw their jobs held."""
    sent: int
    """In a submission that was not refused."""
    duplicates: int
    """Files."""
    duplicate_bytes: int
    bytes: int
    """Of accepted files that are still there."""
    accepted_bytes: int
    """Of accepted files, with those removed since."""
    events: int


class OpenSubmission(NamedTuple):
    """A submission some of whose jobs are not known to have ended, with the last that was seen of them."""

    tag: str
    dag_id: str
    tranche: str
    run: int
    stage: str
    state: SubmissionState
    jobs_open: int
    rest: int
    """Subruns of its stage and slice that are neither accepted nor missing."""
    is_merge: bool
    at: float | None
    """When its jobs were last counted; None: never, and the counts are 0."""
    idle: int
    running: int
    held: int
    completed: int
    removed: int
    unknown: int


class EndedJobs(NamedTuple):
    """Jobs of a stage that had completed by some moment, over the submissions looked at."""

    dag_id: str
    tranche: str
    stage: str
    at: float
    jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenQuestion:
    """A question to a person that nobody has answered yet."""

    dag_id: str
    tranche: str
    run: int
    stage: str
    asked_at: float
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that the bars, rates and ends of some campaigns are made of, as of one moment."""

    tranches: tuple[TrancheFacts, ...]
    counts: tuple[StageCount, ...]
    """One a tranche and stage."""
    submissions: tuple[OpenSubmission, ...]
    ended: tuple[EndedJobs, ...]
    questions: tuple[OpenQuestion, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedMark:
    """How many subruns of a stage of one slice were accepted from some moment on."""

    run: int
    stage: str
    at: float
    accepted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionLine:
    """One submission as a list of them shows it."""

    tag: str
    run: int
    stage: str
    recovery: int
    state: SubmissionState
    jobs: int
    jobs_open: int
    clusters: tuple[tuple[str, int], ...]
    """(schedd, cluster)."""
    intended_at: float
    submitted_at: float | None
    state_at: float
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteLine:
    """How the jobs of a tranche ended at one site."""

    site: str
    good: int
    bad: int
    """Ended with another exit code than 0, or by a signal."""
    other: int
    """Held, removed, or without a known end."""
    wall_s: float
    cpu_s: float
    """Of the jobs whose CPU and wall time are both known."""
    core_s: float
    """Wall time times requested CPUs of the same jobs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPlace:
    """Where a job stands: the submission and process that it belongs to."""

    dag_id: str
    tranche: str
    run: int
    stage: str
    tag: str
    submission_id: int
    process: int
    first_subrun: int
    last_subrun: int
    recovery: int
    job_id: str
    """`cluster.process@schedd`; empty before it was sent."""
