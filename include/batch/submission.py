"""Submitting exactly once, whatever dies in between. docs/batch.md tells the rules.

The ledger's intent row says that a submission may exist; the tag in the jobs' ads says whether it does. The
note in its work folder (submit_note) says when something was last started that may have submitted.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, Protocol

from include.batch import doubt
from include.batch.absence import Start, require_absence
from include.batch.launcher import OUTPUT, printed
from include.batch.placing import kept, placed, shortfall, whole
from include.batch.submit_note import NOTE, Note, note_end, read_note, write_note, writing
from include.campaign.states import SubmissionState
from include.crash_points import reached
from include.errors import (
    LedgerError,
    MissingTool,
    ScheddUnreachable,
    SubmissionAmbiguous,
    SubmissionRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from include.batch.placing import Placed
    from include.batch.pool import Pool, SubmitAnswer, SubmitRequest, Submitter
    from include.batch.steady_time import Clock
    from include.bookkeeping.records import Submission

log = logging.getLogger(__name__)


class LedgerPort(Protocol):
    """What submitting needs of the ledger."""

    def submission(self, tag: str) -> Submission | None:
        """Return the row of `tag`."""

    def record_submitted(
        self,
        tag: str,
        *,
        clusters: tuple[tuple[str, int, int], ...],
        message: str,
        now: float,
        first_units: tuple[int, ...] = (),
    ) -> object:
        """Set the row's (schedd, cluster, jobs), from `intended` or `refused`."""

    def record_refused(self, tag: str, *, message: str, now: float) -> object:
        """Note that nothing was submitted, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmitLimits:
    """Times of one submission, seconds."""

    timeout_s: float = 900.0
    """jobsub_submit, or a launcher, is ended after this; an upload to RCDS may take minutes."""
    grace_s: float = 120.0
    """For so long after its end its jobs may still become visible: absence proves nothing."""
    search_every_s: float = 3.0


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

    def left_s(self, note: Note) -> float:
        """How long something of an earlier start can still come."""
        return note.left_s(grace_s=self.limits.grace_s, steady=self.clock.steady())

    @property
    def who(self) -> str:
        """What submits, for texts."""
        return "jobsub_submit" if self.request.launcher is None else "the launcher"

    def settled(self, found: Sequence[Placed]) -> bool:
        """Whether a search that found these need not go on: a launcher's next cluster may be under way.

        What a person removed says nothing of what an earlier try may still bring.
        """
        return bool(whole(found, self.request.jobs)) or (bool(kept(found)) and self.request.launcher is None)


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
    the grace and every schedd then answers that neither its queue nor its history has the tag, and where
    nothing says that jobs of that try ran and left the history: see `absence`. While one schedd does not
    answer, nothing is submitted.
    StorageError: the work folder cannot be written, so nothing was submitted.
    LedgerError: the clusters with the tag are not the submission, each unit once, or a launcher named one
    without it, or jobs ran that no schedd knows any more, or the row is missing; a person must look.
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
    with writing(one_try.folder, request.tag):
        one_try.folder.mkdir(parents=True, exist_ok=True)
        lock = (one_try.folder / "submit.lock").open("a")
    with lock, _alone(one_try, lock):
        row = _row(one_try)
        reached("submit.intended")
        if row.state in {SubmissionState.SUBMITTED, SubmissionState.ENDED}:
            log.info("%s: is submitted already: %s", row.tag, row.clusters)
            return row
        found = _before(one_try)
        if _is_something(one_try, found):
            return _adopt(one_try, found, "before submitting")
        _require_absence(one_try, found)
        return _submit(one_try)


def _is_something(one_try: _Try, found: tuple[Placed, ...]) -> bool:
    """Whether there are jobs; those of a part that a person removed make nothing any more."""
    return bool(whole(found, one_try.request.jobs) or kept(found) or _strays(one_try, found))


def _before(one_try: _Try) -> tuple[Placed, ...]:
    """Search for jobs of an earlier try, until nothing of it can come any more."""
    note = read_note(one_try.folder)
    tag = one_try.request.tag
    if note is None:
        log.info("%s: searching the tag in every schedd's queue and history", tag)
        return _search(one_try, since=None)
    left = one_try.left_s(note)
    log.info(
        "%s: an earlier try started %s; searching its tag for %.0f s more", tag, one_try.who, max(0.0, left)
    )
    # The first search reads whole histories: the jobs may be older than the note.
    found = _search(one_try, since=None, known=note.schedds)
    return found if one_try.settled(found) else _search_until(one_try, left, note)


def _require_absence(one_try: _Try, found: tuple[Placed, ...]) -> None:
    """Go on only where nothing of an earlier start can have run; `found` are clusters that were removed.

    So are those that a launcher named: others are strays, which stop before this.
    """
    note = read_note(one_try.folder)
    if note is None:
        return
    named = () if one_try.request.launcher is None else printed(one_try.folder)
    removed = {each.cluster for each in (*named, *(each.id for each in found))}
    start = Start(
        tag=one_try.request.tag,
        who=one_try.who,
        note=note,
        folder=one_try.folder,
        explained=frozenset(removed - {each.id.cluster for each in found if each.gone}),
    )
    require_absence(start, pool=one_try.pool, clock=one_try.clock)


def _submit(one_try: _Try) -> Submission:
    """Run jobsub_submit or the launcher, and find out what it did."""
    request, tag = one_try.request, one_try.request.tag
    try:
        command = one_try.submitter.command(request)
    except SubmissionRefused as error:
        _refused(one_try, error)
    note = _begin(one_try)
    with writing(one_try.folder, tag):
        (one_try.folder / "command").write_text(shlex.join(command) + "\n", encoding="utf-8")
        write_note(one_try.folder, note)
    log.info("%s: no job has it. Submitting %d jobs: %s", tag, request.jobs, shlex.join(command))
    reached("submit.noted")
    try:
        answer = one_try.submitter.submit(request, timeout_s=one_try.limits.timeout_s)
    except MissingTool:
        (one_try.folder / NOTE).unlink()
        raise
    except SubmissionRefused as error:
        # Exit codes and messages of jobsub_submit have been wrong before: the tag has the last word.
        note = note_end(one_try.folder, note, clock=one_try.clock)
        left = 0.0 if request.launcher is None else one_try.left_s(note)
        found = _search_until(one_try, left, note)
        if _is_something(one_try, found):
            return _adopt(one_try, found, f"although {one_try.who} said it failed")
        _refused(one_try, error)
    except SubmissionAmbiguous as error:
        note = note_end(one_try.folder, note, clock=one_try.clock)
        log.warning("%s: %s", tag, error)
        found = _search_until(one_try, one_try.left_s(note), note)
        if _is_something(one_try, found):
            return _adopt(one_try, found, f"after {one_try.who} left it open")
        raise
    reached("submit.sent")
    return _answered(one_try, answer, note_end(one_try.folder, note, clock=one_try.clock))


def _begin(one_try: _Try) -> Note:
    """Return the note of a start of jobsub_submit."""
    schedds, steady = _schedds(one_try, known=()), one_try.clock.steady()
    return Note(
        started=one_try.clock.now(),
        ended=None,
        timeout_s=one_try.limits.timeout_s,
        schedds=schedds,
        boot=steady.boot,
        steady_s=steady.seconds,
    )


def _answered(one_try: _Try, answer: SubmitAnswer, note: Note) -> Submission:
    """Record what was submitted; a launcher's jobs are counted in the pool."""
    if one_try.request.launcher is None and len(answer.clusters) == 1:
        (cluster,) = answer.clusters
        rows = ((cluster.schedd, cluster.cluster, one_try.request.jobs),)
        return _record(one_try, rows, (0,), answer.output)
    if answer.exit_code != 0:
        ended = "was killed" if answer.exit_code is None else f"ended with exit code {answer.exit_code}"
        log.warning("%s: %s %s; its jobs are counted in the pool", one_try.request.tag, one_try.who, ended)
    found = _search_until(one_try, one_try.left_s(note), note)
    return _adopt(one_try, found, f"after {one_try.who} had ended", said=answer.output)


def _adopt(one_try: _Try, found: tuple[Placed, ...], when: str, *, said: str = "") -> Submission:
    """Record jobs that exist; LedgerError where they are not the submission."""
    units, strays = one_try.request.jobs, _strays(one_try, found)
    mine = whole(found, units)
    if not mine and not strays:
        mine = doubt.chosen(one_try.request, found, folder=one_try.folder)
        if mine:
            lacks = shortfall(mine, units) or "nothing is missing"
            log.warning("%s: a person lets it go on with what there is: %s", one_try.request.tag, lacks)
    if not mine or strays:
        raise LedgerError(doubt.story(one_try.request, found, strays, folder=one_try.folder))
    left_out = [str(each.id) for each in found if each not in mine]
    if left_out:
        log.info(
            "%s: not counted, because removed or not chosen: %s", one_try.request.tag, ", ".join(left_out)
        )
    names = ", ".join(str(each.id) for each in mine)
    message = said or f"adopted: jobs with this tag were found {when}: {names}"
    rows = tuple((each.id.schedd, each.id.cluster, each.jobs) for each in mine)
    return _record(one_try, rows, tuple(each.first_unit for each in mine), message)


def _record(
    one_try: _Try, rows: tuple[tuple[str, int, int], ...], first_units: tuple[int, ...], message: str
) -> Submission:
    """Write the clusters to the ledger."""
    tag = one_try.request.tag
    one_try.ledger.record_submitted(
        tag, clusters=rows, message=message, now=one_try.clock.now(), first_units=first_units
    )
    for schedd, cluster, jobs in rows:
        log.info("%s: %d jobs in cluster %d@%s", tag, jobs, cluster, schedd)
    return _row(one_try)


def _strays(one_try: _Try, found: Sequence[Placed]) -> tuple[doubt.Stray, ...]:
    """Return the clusters that the launcher named and that are not among those with the tag."""
    if one_try.request.launcher is None:
        return ()
    known = {each.id for each in found}
    named = [each for each in printed(one_try.folder) if each not in known]
    strays = []
    for each in named:
        try:
            ads = one_try.pool.ads(each.schedd, [each.cluster])
        except ScheddUnreachable as error:
            why = (
                f"{one_try.who} named the cluster {each}: {error} If there is no such schedd, find these "
                f"jobs, then remove {one_try.folder / OUTPUT}"
            )
            _cannot_tell(one_try, why, error)
        stray = doubt.stray_of(one_try.request.tag, each, ads)
        if stray is not None:
            strays.append(stray)
    return tuple(strays)


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


def _search_until(one_try: _Try, left_s: float, note: Note) -> tuple[Placed, ...]:
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
        if last or one_try.settled(found):
            return found
        pause = min(one_try.limits.search_every_s, end - one_try.clock.steady().seconds)
        one_try.clock.sleep(max(0.0, pause))


def _search(one_try: _Try, *, since: float | None, known: tuple[str, ...] = ()) -> tuple[Placed, ...]:
    """Search the tag everywhere; SubmissionAmbiguous unless every schedd answers, `known` ones included."""
    _schedds(one_try, known=known)
    tag = one_try.request.tag
    try:
        clusters = one_try.pool.find_tag(tag, since=since)
        by_schedd: dict[str, list[int]] = {}
        for each in clusters:
            by_schedd.setdefault(each.schedd, []).append(each.cluster)
        ads = [ad for schedd, numbers in by_schedd.items() for ad in one_try.pool.ads(schedd, numbers)]
    except ScheddUnreachable as error:
        _cannot_tell(one_try, str(error), error)
    return placed(tag, clusters, ads)


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
