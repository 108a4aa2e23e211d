"""A deployment whose Airflow lost a part: started again by `up`, ended as a whole by `down`."""

from __future__ import annotations

import os
import shutil
import signal
import time
from typing import TYPE_CHECKING

from embedded.deployment import CHECKOUT, Deployment
from embedded.pool_config import Node
from embedded.processes import command, is_alive, pids, stat, working_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def wait(condition: Callable[[], object], seconds: float = 120) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)


def part_of(leader: int, name: str) -> int:
    """Return the process id of one of the programs that `airflow standalone` started."""
    [pid] = [p for p in pids() if (s := stat(p)) and s.parent == leader and f"airflow {name}" in command(p)]
    return pid


def test_a_killed_part_is_started_again_and_down_ends_what_lost_its_leader(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "specs").mkdir()
    shutil.copytree(CHECKOUT / "campaign_specs/demo", tmp_path / "specs/demo")
    deployment = Deployment(
        state=tmp_path / "state",
        specs=tmp_path / "specs",
        nodes=(Node(name="wn7", cpus=1), Node(name="wn8", cpus=1, black_hole=True)),
        schedds=("ap1", "ap2"),
        ports=(0, 0, 0),
        say=said.append,
    )
    try:
        deployment.start()
        status = deployment.pool.status()
        assert (status.nodes, status.schedds) == (("wn7.pool", "wn8.pool"), ("ap1.pool", "ap2.pool"))
        first = deployment.airflow()
        assert first is not None
        url = deployment.url
        deployment.start()
        assert said[-1] == f"Airflow is running already: {url}"

        scheduler = part_of(first.leader, "scheduler")
        os.kill(scheduler, signal.SIGKILL)
        wait(lambda: not is_alive(scheduler))
        deployment.start()
        assert "Airflow's scheduler died: all of Airflow is started anew" in said
        second = deployment.airflow()
        assert second is not None
        assert second.missing() == ()
        assert second.leader != first.leader
        assert first.members() == set()
        assert deployment.url == url

        os.kill(second.leader, signal.SIGKILL)
        wait(lambda: not is_alive(second.leader))
        assert second.members()
    finally:
        deployment.stop()
    home = str(deployment.home.resolve())
    assert [pid for pid in pids() if is_alive(pid) and working_folder(pid) == home] == []
    assert deployment.airflow() is None
