"""Ledgers to report on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.bookkeeping.ledger import Ledger
from tests import report_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger without campaigns."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def told(empty: Ledger) -> Ledger:
    """The ledger of tests/report_records.py."""
    report_records.fill(empty)
    return empty
