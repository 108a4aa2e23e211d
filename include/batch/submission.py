"""Submitting exactly once, whatever dies in between. docs/batch.md tells the rules.

The ledger's intent row says that a submission may exist; the tag in the jobs' ads says whether it does. A
note in the submission's work folder says when jobsub_submit was last started and which schedds there were,
because a schedd that is down vanishes from the collector while its jobs stay.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shlex
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, Protocol

from include.campaign.states import SubmissionState
from include.crash_points import reached
from include.errors import (
    LedgerError,
    MissingTool,
    ScheddUnreachable,
    StorageError,
    SubmissionAmbiguous,
    SubmissionRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.batch.pool import ClusterId, Pool, SubmitRequest, Submitter
    from include.batch.steady_time import Clock, SteadyTime
    from include.bookkeeping.records import Submission

log = logging.getLogger(__name__)


class LedgerPort(Protocol):
    """What submitting needs of the ledger."""

    def submission(self, tag: str) -> Submission | None:
        """Return the row of `tag`."""

    def record_submitted(
        self, tag: str, *, clusters: tuple[tuple[str, int, int], ...], message: str, now: float
    ) -> object:
        """Set the row's (schedd, cluster, jobs), from `intended` or `refused`."""

    def record_refused(self, tag: str, *, message: str, now: float) -> object:
        """Note that nothing was submitted, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitLimits:
    """Times of one submission, seconds."""

    timeout_s: float = 900.0
    """jobsub_submit is ended after this; an upload to RCDS may take minutes."""
    grace_s: float = 120.0
    """For so long after jobsub_submit's end its jobs may still become visible: absence proves nothing."""
    search_every_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Note:
    """What the work folder says of the last start of jobsub_submit."""

    started: float
    ended: float | None
    """None: it may still be running, for at most the time-out it was given."""
    timeout_s: float
    schedds: tuple[str, ...]
    boot: str = ""
    steady_s: float = 0.0
    """When it started, or ended if it has, in the steady time of `boot`."""

    def left_s(self, *, grace_s: float, now: float, steady: SteadyTime) -> float:
        """How long something of that start can still come: zero or less where nothing can.

        The machine's clock counts only where the try was on another machine, or before a reboot, and then
        the whole grace begins anew: either may have changed the clock.
        """
        whole = grace_s + (self.timeout_s if self.ended is None else 0.0)
        passed = steady.since(self.boot, self.steady_s)
        if passed is None:
            by_clock = now - (self.started if self.ended is None else self.ended)
            passed = min(max(by_clock, 0.0), whole - grace_s)
        return whole - passed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Try:
    """One run of `submit_once`: what it works with."""

    ledger: LedgerPort
    pool: Pool
    submitter: Submitter
    request: SubmitRequest
    folder: Path
    limits: SubmitLimits
    clock: Clock

    def left_s(self, note: _Note) -> float:
        """How long something of an earlier start can still come."""
        return note.left_s(grace_s=self.limits.grace_s, now=self.clock.now(), steady=self.clock.steady())


def submit_once(
    *,
    ledger_port: LedgerPort,
    pool: Pool,
    submitter: Submitter,
    request: SubmitRequest,
    submission: Submission,
    clock: Clock,
    limits: SubmitLimits | None = None,
) -> Submission:
    """Submit `request` unless its tag is submitted already; return the ledger's row with the clusters.

    SubmissionRefused: nothing was submitted, the row says refused, and calling again may submit.
    SubmissionAmbiguous: not known yet; the row stays as it is, and calling again searches first. That call
    submits only where jobsub_submit's end (or its time-out, where the try was killed) lies longer back than
    the grace and every schedd then answers that neither its queue nor its history has the tag. While one
    schedd does not answer, nothing is submitted.
    StorageError: the work folder cannot be written, so nothing was submitted.
    LedgerError: the tag is on more than one cluster, on one with another number of jobs, or the row is
    missing; a person must look.
    """
    one_try = _Try(
        ledger=ledger_port,
        pool=pool,
        submitter=submitter,
        request=request,
        folder=Path(submission.work_dir),
        limits=limits or SubmitLimits(),
        clock=clock,
    )
    with _writing(one_try):
        one_try.folder.mkdir(parents=True, exist_ok=True)
        lock = (one_try.folder / "submit.lock").open("a")
    with lock, _alone(one_try, lock):
        row = _row(one_try)
        reached("submit.intended")
        if row.state in {SubmissionState.SUBMITTED, SubmissionState.ENDED}:
            log.info("%s: is submitted already: %s", row.tag, row.clusters)
            return row
        found = _before(one_try)
        if found:
            return _adopt(one_try, found, "before submitting")
        return _submit(one_try)


def _before(one_try: _Try) -> tuple[ClusterId, ...]:
    """Search for jobs of an earlier try, until nothing of it can come any more."""
    note = _read_note(one_try.folder)
    tag = one_try.request.tag
    if note is None:
        log.info("%s: searching the tag in every schedd's queue and history", tag)
        return _search(one_try, since=None)
    left = one_try.left_s(note)
    log.info(
        "%s: an earlier try started jobsub_submit; searching its tag for %.0f s more", tag, max(0.0, left)
    )
    # The first search reads whole histories: the jobs may be older than the note.
    return _search(one_try, since=None, known=note.schedds) or _search_until(one_try, left, note)


def _submit(one_try: _Try) -> Submission:
    """Run jobsub_submit and find out what it did."""
    request, tag = one_try.request, one_try.request.tag
    try:
        command = one_try.submitter.command(request)
    except SubmissionRefused as error:
        _refused(one_try, error)
    note = _begin(one_try)
    with _writing(one_try):
        (one_try.folder / "command").write_text(shlex.join(command) + "\n", encoding="utf-8")
        _write_note(one_try.folder, note)
    log.info("%s: no job has it. Submitting %d jobs: %s", tag, request.jobs, shlex.join(command))
    reached("submit.noted")
    try:
        answer = one_try.submitter.submit(request, timeout_s=one_try.limits.timeout_s)
    except MissingTool:
        (one_try.folder / NOTE).unlink()
        raise
    except SubmissionRefused as error:
        note = _ended(one_try, note)
        # Exit codes and messages of jobsub_submit have been wrong before: the tag has the last word.
        found = _search(one_try, since=note.started, known=note.schedds)
        if found:
            return _adopt(one_try, found, "although jobsub_submit said it failed")
        _refused(one_try, error)
    except SubmissionAmbiguous as error:
        note = _ended(one_try, note)
        log.warning("%s: %s", tag, error)
        found = _search_until(one_try, one_try.left_s(note), note)
        if found:
            return _adopt(one_try, found, "after jobsub_submit left it open")
        raise
    reached("submit.sent")
    _ended(one_try, note)
    return _record(one_try, answer.clusters, answer.output)


def _begin(one_try: _Try) -> _Note:
    """Return the note of a start of jobsub_submit."""
    schedds, steady = _schedds(one_try, known=()), one_try.clock.steady()
    return _Note(
        started=one_try.clock.now(),
        ended=None,
        timeout_s=one_try.limits.timeout_s,
        schedds=schedds,
        boot=steady.boot,
        steady_s=steady.seconds,
    )


def _adopt(one_try: _Try, found: tuple[ClusterId, ...], when: str) -> Submission:
    """Record jobs that exist already instead of submitting."""
    if len(found) == 1:
        _check_jobs(one_try, found[0])
    message = f"adopted: jobs with this tag were found {when}: {', '.join(map(str, found))}"
    return _record(one_try, found, message)


def _record(one_try: _Try, clusters: tuple[ClusterId, ...], message: str) -> Submission:
    """Write the clusters to the ledger; more than one for a tag is for a person to decide."""
    tag = one_try.request.tag
    if len(clusters) != 1:
        names = ", ".join(map(str, clusters))
        msg = (
            f"{tag}: {len(clusters)} clusters carry this tag: {names}. One submission is one cluster, so "
            "one of them is a double, or they are a DAG's jobs. Nothing more is submitted. Remove all but "
            "one with jobsub_rm and record that one in the ledger by hand."
        )
        raise LedgerError(msg)
    rows = tuple((cluster.schedd, cluster.cluster, one_try.request.jobs) for cluster in clusters)
    one_try.ledger.record_submitted(tag, clusters=rows, message=message, now=one_try.clock.now())
    log.info("%s: %d jobs in cluster %s", tag, one_try.request.jobs, clusters[0])
    return _row(one_try)


def _check_jobs(one_try: _Try, cluster: ClusterId) -> None:
    """Refuse a cluster that has not as many jobs as the request: process numbers say what each makes."""
    tag, asked = one_try.request.tag, one_try.request.jobs
    try:
        ads = one_try.pool.ads(cluster.schedd, [cluster.cluster])
    except ScheddUnreachable as error:
        _cannot_tell(one_try, str(error), error)
    jobs = sum(ad.tag == tag for ad in ads)
    if jobs != asked:
        msg = (
            f"{tag}: cluster {cluster} carries this tag with {jobs} jobs, but {asked} were to be submitted. "
            "Nothing is recorded, and nothing more is submitted. Look at its jobs with condor_q and "
            "condor_history. If they are the submission's and some have left the history, record the cluster "
            f"in the ledger by hand with {asked} jobs; if somebody else gave them this tag, a person decides."
        )
        raise LedgerError(msg)


def _refused(one_try: _Try, error: SubmissionRefused) -> NoReturn:
    """Record that nothing was submitted, and raise."""
    one_try.ledger.record_refused(one_try.request.tag, message=str(error), now=one_try.clock.now())
    raise error


def _row(one_try: _Try) -> Submission:
    """Return the ledger's row."""
    row = one_try.ledger.submission(one_try.request.tag)
    if row is None:
        msg = f"{one_try.request.tag}: the ledger has no intent for it: nothing is submitted. Clear the task."
        raise LedgerError(msg)
    return row


def _search_until(one_try: _Try, left_s: float, note: _Note) -> tuple[ClusterId, ...]:
    """Search the tag until it is found or `left_s` are over, at least once after that.

    The last search reads whole histories: `started` may be of a clock that was wrong.
    """
    end = one_try.clock.steady().seconds + left_s
    while True:
        last = one_try.clock.steady().seconds >= end
        try:
            found = _search(one_try, since=None if last else note.started, known=note.schedds)
        except SubmissionAmbiguous:
            if last:
                raise
            found = ()
        if found or last:
            return found
        pause = min(one_try.limits.search_every_s, end - one_try.clock.steady().seconds)
        one_try.clock.sleep(max(0.0, pause))


def _search(one_try: _Try, *, since: float | None, known: tuple[str, ...] = ()) -> tuple[ClusterId, ...]:
    """Search the tag everywhere; SubmissionAmbiguous unless every schedd answers, `known` ones included."""
    _schedds(one_try, known=known)
    try:
        return one_try.pool.find_tag(one_try.request.tag, since=since)
    except ScheddUnreachable as error:
        _cannot_tell(one_try, str(error), error)


def _schedds(one_try: _Try, *, known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the schedds there are; SubmissionAmbiguous if one of the `known` ones has gone."""
    try:
        there = one_try.pool.schedds()
    except ScheddUnreachable as error:
        _cannot_tell(one_try, str(error), error)
    gone = sorted(set(known) - set(there))
    if gone:
        why = (
            f"schedd {', '.join(gone)}, which an earlier try may have submitted to, is not in the collector. "
            f"If it is gone for good, remove {one_try.folder / NOTE} and clear the task"
        )
        _cannot_tell(one_try, why, None)
    return there


def _cannot_tell(one_try: _Try, why: str, cause: Exception | None) -> NoReturn:
    """Raise SubmissionAmbiguous."""
    msg = f"{one_try.request.tag}: nothing is submitted until every schedd was searched for this tag: {why}"
    raise SubmissionAmbiguous(msg) from cause


NOTE = "submit.json"


def _read_note(folder: Path) -> _Note | None:
    """Return the note in the work folder; None if jobsub_submit was never started there."""
    path = folder / NOTE
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return _Note(**{**data, "schedds": tuple(data["schedds"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        msg = (
            f"{path} cannot be read ({error}), so nobody knows what an earlier try did. Look, then remove it."
        )
        raise SubmissionAmbiguous(msg) from error


def _write_note(folder: Path, note: _Note) -> None:
    """Write the note so that a crash leaves the old or the new one."""
    part = folder / f".{NOTE}.part"
    with part.open("w", encoding="utf-8") as file:
        json.dump(asdict(note), file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / NOTE)


def _ended(one_try: _Try, note: _Note) -> _Note:
    """Note that jobsub_submit has ended; a full disk costs only that a next try waits for its time limit."""
    steady = one_try.clock.steady()
    ended = replace(note, ended=one_try.clock.now(), boot=steady.boot, steady_s=steady.seconds)
    try:
        _write_note(one_try.folder, ended)
    except OSError as error:
        log.warning("%s: %s does not say that jobsub_submit has ended: %s", one_try.request.tag, NOTE, error)
    return ended


@contextlib.contextmanager
def _alone(one_try: _Try, file: IO[str]) -> Iterator[None]:
    """Hold the work folder's lock: two tries of one task may be alive at the same time."""
    end = one_try.clock.steady().seconds + one_try.limits.timeout_s + one_try.limits.grace_s
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError as error:
            if one_try.clock.steady().seconds >= end:
                _cannot_tell(one_try, f"another process is submitting it and holds {file.name}", error)
        one_try.clock.sleep(one_try.limits.search_every_s)
    yield


@contextlib.contextmanager
def _writing(one_try: _Try) -> Iterator[None]:
    """Explain a work folder that takes no file; jobsub_submit is not started by then."""
    try:
        yield
    except OSError as error:
        msg = (
            f"{one_try.request.tag}: nothing is submitted: the work folder {one_try.folder} cannot be "
            f"written ({error.strerror}). Make space there, or give the rights; then clear the task."
        )
        raise StorageError(msg) from error
