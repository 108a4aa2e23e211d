"""A real pool for the tests that need one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings
from include.batch.pool_process import CONDOR, PoolProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PersonalPool]:
    """A started pool that CONDOR_CONFIG and PATH name; jobs find the tests' own Python first."""
    settings = PoolSettings(
        state=tmp_path_factory.mktemp("pool"),
        binaries=CHECKOUT / ".prodsys/condor",
        port=0,
        job_path=str(Path(sys.executable).parent),
    )
    started = PersonalPool(settings)
    started.start()
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in started.environment().items():
                patch.setenv(name, value)
            yield started
    finally:
        started.stop()


@pytest.fixture
def condor(pool: PersonalPool) -> Iterator[PoolProcess]:  # CONDOR_CONFIG names it
    """The session's pool through the helper process."""
    with PoolProcess(CONDOR, timeout_s=60) as process:
        yield process
