"""Failures and diagnoses for tests of triage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.triage.classify import Triage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="session")
def triage() -> Triage:
    """The installed rules."""
    return Triage.load()


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    """An empty folder for rule files."""
    folder = tmp_path / "rules"
    folder.mkdir()
    return folder
