"""A ledger on a disk that is full: said, nothing half-written, and it goes on once there is space."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.ledger import Ledger
from include.campaign.states import SubmissionState
from include.errors import LedgerUnavailable
from tests.ledger_records import NOW, TRANCHE, campaign_plan, intend, job
from tests.small_disk import on_small_disk

if TYPE_CHECKING:
    from pathlib import Path


def fill(ballast: Path) -> None:
    """Write until there is no space."""
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"0" * 512)


def use(folder: Path) -> tuple[SubmissionState, int]:
    """Work on a ledger whose disk fills, and is cleared again; return what is in it then."""
    with Ledger(f"sqlite:///{folder}/ledger.db") as ledger:
        ledger.upgrade()
        ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=3, now=NOW)
        tag = intend(ledger, "gen")
        fill(folder / "ballast")
        with pytest.raises(LedgerUnavailable, match=r"cannot be used: .*full"):
            ledger.record_submitted(tag, clusters=[("ap1", 7, 4)], message="4 job(s) " * 20_000, now=NOW)
        (folder / "ballast").unlink()
        before = ledger.submission(tag)
        assert before is not None
        ledger.record_submitted(tag, clusters=[("ap1", 7, 4)], message="4 job(s)", now=NOW)
        ledger.record_jobs(tag, [job(process) for process in range(4)])
        return before.state, len(ledger.jobs(tag))


def test_a_full_disk_is_unavailable_and_leaves_whole_records(tmp_path: Path) -> None:
    state, jobs = on_small_disk(tmp_path / "volume", lambda: use(tmp_path / "volume"), size_kb=2048)
    assert (state, jobs) == (SubmissionState.INTENDED, 4)
