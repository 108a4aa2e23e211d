"""Remove what the ledger says is safe to remove, and nothing else.

The intent is in the ledger before a file goes, so that a crash leaves files `removing` and the next run
finishes them. The contract of a campaign's own cleanup script is in docs/cleanup.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from include.crash_points import reached
from include.data.storage import is_below
from include.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.bookkeeping.records import OutputRecord
    from include.campaign.plan import CampaignPlan
    from include.data.storage import Storage

log = logging.getLogger(__name__)

BATCH = 200
"""Files whose removal is intended at a time."""
DUPLICATES_AFTER_S = 7 * 86_400.0
"""A verified duplicate of an accepted output is removed so long after it was found to be one, seconds."""
SCRIPT_OUTPUT = 8000
"""Characters of the script's output that are kept, from its end."""


class RemovalLedger(Protocol):
    """What cleanup needs of the ledger."""

    def removable(
        self, *, experiment: str, run: int, now: float, duplicates_after_s: float | None = None
    ) -> list[OutputRecord]:
        """Return the outputs of a run that are safe to remove, old duplicates of accepted ones included."""

    def accepted_outputs(self, *, experiment: str, run: int, stage: str) -> list[OutputRecord]:
        """Return the accepted outputs of a stage that are not removed."""

    def removing(self, *, experiment: str, run: int) -> list[OutputRecord]:
        """Return the outputs of a run whose removal began and is not known to have finished."""

    def begin_removal(self, outputs: Sequence[OutputRecord], *, experiment: str, now: float) -> None:
        """Record that the outputs are about to be removed; LedgerError if one is still needed."""

    def finish_removal(self, outputs: Sequence[OutputRecord], *, experiment: str, now: float) -> None:
        """Record that the outputs are gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptEnd:
    """How the campaign's cleanup script ended."""

    exit_code: int | None
    """None: it did not end in time, or could not be started."""
    output: str
    """The end of its stdout and stderr, bounded; the reason where it could not be started."""

    @property
    def good(self) -> bool:
        """Whether prodsys may go on."""
        return self.exit_code == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupResult:
    """What a cleanup did."""

    removed: int
    """Files."""
    bytes: int
    """Sum of the sizes of the files removed."""
    gone: int
    """Files that were gone already, removed by the script or before a crash."""
    refused: tuple[str, ...]
    """One sentence on each file that was left where it is."""
    script: ScriptEnd | None
    """None where the campaign has no cleanup script or there was nothing to remove."""

    @property
    def good(self) -> bool:
        """Whether everything that could go is gone."""
        return not self.refused and (self.script is None or self.script.good)


@dataclass(slots=True)
class _Tally:
    removed: int = 0
    bytes: int = 0
    gone: int = 0


def clean(
    plan: CampaignPlan,
    *,
    run: int,
    ledger: RemovalLedger,
    storage: Storage,
    now: float,
    script_timeout_s: float = 3600,
) -> CleanupResult:
    """Remove the outputs of a run that the ledger lists as removable, and finish what an earlier call began.

    A campaign's cleanup script is called first, with all that is about to go. If it fails, nothing is removed
    now and the files stay `removing`: the next call hands them to it again. Where an accepted file that is to
    stay is not there as the ledger has it, nothing is removed: what would go may be the last copy.
    """
    begun = ledger.removing(experiment=plan.experiment, run=run)
    known = {output.path for output in begun}
    fresh = [
        output
        for output in ledger.removable(
            experiment=plan.experiment, run=run, now=now, duplicates_after_s=DUPLICATES_AFTER_S
        )
        if output.path not in known
    ]
    refused = [
        f"{output.path} is not below the outstage area {plan.outstage}"
        for output in (*begun, *fresh)
        if not is_below(output.path, plan.outstage)
    ]
    begun, fresh = ([each for each in some if is_below(each.path, plan.outstage)] for some in (begun, fresh))
    going = {*known, *(each.path for each in fresh)}
    if (begun or fresh) and (lost := _lost(plan, run, going=going, ledger=ledger, storage=storage)):
        refused += lost
        begun, fresh = [], []
    script = None
    if plan.cleanup_script and (begun or fresh):
        for batch in _batches(fresh):
            ledger.begin_removal(batch, experiment=plan.experiment, now=now)
        begun, fresh = [*begun, *fresh], []
        script = run_script(plan, run=run, outputs=begun, timeout_s=script_timeout_s)
        if not script.good:
            log.warning("%s run %d: cleanup script: exit code %s", plan.dag_id, run, script.exit_code)
            return CleanupResult(removed=0, bytes=0, gone=0, refused=tuple(refused), script=script)
    tally = _Tally()
    for batch in _batches(begun):
        refused += _remove(plan, batch, ledger=ledger, storage=storage, now=now, tally=tally)
    for batch in _batches(fresh):
        ledger.begin_removal(batch, experiment=plan.experiment, now=now)
        refused += _remove(plan, batch, ledger=ledger, storage=storage, now=now, tally=tally)
    return CleanupResult(
        removed=tally.removed, bytes=tally.bytes, gone=tally.gone, refused=tuple(refused), script=script
    )


def _lost(
    plan: CampaignPlan, run: int, *, going: set[str], ledger: RemovalLedger, storage: Storage
) -> list[str]:
    """Say which accepted files of a run, beside those that go, are not there as the ledger has them."""
    lost = []
    for stage in plan.stages:
        for output in ledger.accepted_outputs(experiment=plan.experiment, run=run, stage=stage.name):
            if output.path in going:
                continue
            try:
                there = storage.stat(output.path)
            except StorageError as error:
                lost.append(f"{error}; nothing is removed while it is not known whether that file is there")
                continue
            if there is None or there.size != output.size:
                seen = "is not there" if there is None else f"has {there.size} bytes, not {output.size}"
                lost.append(
                    f"{output.path} is accepted and {seen}: nothing is removed, it may be the last copy; "
                    "`prodsys truth` tells of such files"
                )
    return lost


def _batches(outputs: Sequence[OutputRecord]) -> list[Sequence[OutputRecord]]:
    return [outputs[start : start + BATCH] for start in range(0, len(outputs), BATCH)]


def _remove(
    plan: CampaignPlan,
    batch: Sequence[OutputRecord],
    *,
    ledger: RemovalLedger,
    storage: Storage,
    now: float,
    tally: _Tally,
) -> list[str]:
    """Remove one batch whose removal is in the ledger; return a sentence on each file that could not go."""
    done, refused = [], []
    reached("cleanup.intended")
    for output in batch:
        try:
            there = storage.stat(output.path)
            if there is not None and there.size != output.size:
                refused.append(
                    f"{output.path}: {there.size} bytes, not {output.size} as in the ledger: not our file"
                )
                continue
            # Removed even when stat saw nothing: remove() tells a file that is gone from an area that is.
            if storage.remove(output.path, area=plan.outstage):
                tally.removed += 1
                tally.bytes += output.size
            else:
                tally.gone += 1
        except StorageError as error:
            refused.append(str(error))
            continue
        done.append(output)
    reached("cleanup.removed")
    if done:
        ledger.finish_removal(done, experiment=plan.experiment, now=now)
    log.info("%s: %d files removed, %d refused", plan.dag_id, len(done), len(refused))
    return refused


def script_input(plan: CampaignPlan, *, run: int, outputs: Sequence[OutputRecord]) -> bytes:
    """Return what a cleanup script reads on its standard input."""
    document = {
        "campaign": plan.dag_id,
        "run": run,
        "removable": [
            {
                "path": output.path,
                "size": output.size,
                "stage": output.stage,
                "first_subrun": output.first_subrun,
                "last_subrun": output.last_subrun,
            }
            for output in outputs
        ],
    }
    return json.dumps(document, ensure_ascii=False).encode()


def run_script(
    plan: CampaignPlan, *, run: int, outputs: Sequence[OutputRecord], timeout_s: float
) -> ScriptEnd:
    """Call the campaign's cleanup script; its output goes to a file: it can fill neither pipe nor memory."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(script_input(plan, run=run, outputs=outputs))
        given.seek(0)
        try:
            child = subprocess.Popen(
                [str(plan.cleanup_script)],
                stdin=given,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            text = f"cannot start {plan.cleanup_script}: {error.strerror}; make it executable, with a #! line"
            return ScriptEnd(exit_code=None, output=text)
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = child.wait(timeout=timeout_s)
        finally:
            # Its whole session, so that nothing it started goes on removing behind our back.
            _end_session(child)
        text = _tail(said.fileno())
    if code is None:
        text = f"{text}\n{plan.cleanup_script} did not end within {timeout_s:g} s and was killed".lstrip()
    return ScriptEnd(exit_code=code, output=text)


def _end_session(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def _tail(handle: int) -> str:
    size = os.fstat(handle).st_size
    start = max(0, size - SCRIPT_OUTPUT)
    text = os.pread(handle, SCRIPT_OUTPUT, start).decode(errors="replace")
    return f"({start} bytes left out)\n{text}" if start else text
