"""How far back a schedd's history reaches, told by a real one that has rotated."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING

from embedded.pool import PersonalPool
from embedded.pool_config import Node, PoolSettings
from include.batch.pool_process import CONDOR, PoolProcess
from tests.integration.condor_jobs import AP1, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SUBMIT = "executable = /bin/true\nrequirements = false\nlog = {log}\nqueue {jobs}\n"
MAX_HISTORY = 50_000
"""Bytes; a job's ad has some 5,000, and HTCondor keeps two rotated files beside the one it writes."""


def complete(pool: PersonalPool, folder: Path, jobs: int) -> None:
    """Have the schedd complete so many jobs that never run, and wait until it has written them to history."""
    (folder / "some.sub").write_text(SUBMIT.format(log=folder / "log", jobs=jobs), encoding="utf-8")

    def run(*command: str) -> str:
        environment = pool.environment()
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    cluster = run("condor_submit", "-terse", str(folder / "some.sub")).partition(".")[0]
    run("condor_qedit", cluster, "ExitCode", "0", "IsNoopJob", "True")
    until(lambda: not run("condor_q", cluster, "-af", "ProcId").strip())


def test_a_history_that_has_rotated_reaches_back_less_far(
    pool: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = PoolSettings(
        state=tmp_path / "small",
        binaries=pool.settings.binaries,
        port=0,
        nodes=(Node(name="wn1", cpus=1),),
        max_history=MAX_HISTORY,
    )
    small = PersonalPool(settings)
    small.start()
    try:
        monkeypatch.setenv("CONDOR_CONFIG", str(small.config))
        with PoolProcess(CONDOR, timeout_s=60) as condor:
            nothing = condor.history_reach(AP1, before=time.time())
            assert (nothing.reaches, nothing.oldest) == (False, None)
            complete(small, tmp_path, 1)
            until(lambda: condor.history_reach(AP1, before=time.time()).reaches)
            first = condor.history_reach(AP1, before=time.time())
            assert first.oldest is not None
            moment = first.oldest + 1.0
            assert condor.history_reach(AP1, before=moment).reaches
            until(lambda: time.time() > moment + 1)
            complete(small, tmp_path, 60)
            later = condor.history_reach(AP1, before=moment)
            assert not later.reaches, "the first job's row is lost"
            assert later.oldest is not None
            assert later.oldest > moment
    finally:
        small.stop()
