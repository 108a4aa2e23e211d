"""Finding and ending the processes of a deployment's Airflow, on processes that only look like it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from embedded.airflow_group import PARTS, AirflowGroup
from embedded.processes import is_alive, stat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LEADER = """\
import subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(300)"]
for part in sys.argv[1:]:
    child = subprocess.Popen([*sleeper, "airflow " + part], stdout=subprocess.DEVNULL)
    print(part, child.pid, flush=True)
time.sleep(300)
"""


def wait(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


@pytest.fixture
def standalone(tmp_path: Path) -> Iterator[tuple[AirflowGroup, dict[str, int]]]:
    """A leader with one child a part, in a session of its own; gives the parts' process ids too."""
    with subprocess.Popen(
        [sys.executable, "-c", LEADER, *PARTS],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        group = AirflowGroup.of(process, tmp_path)
        assert process.stdout is not None
        children = dict(process.stdout.readline().split() for _ in PARTS)
        try:
            yield group, {part: int(pid) for part, pid in children.items()}
        finally:
            os.killpg(process.pid, signal.SIGKILL) if group.members() else None


Standalone = tuple[AirflowGroup, dict[str, int]]


def test_a_dead_part_is_missing(standalone: Standalone) -> None:
    group, parts = standalone
    wait(lambda: group.missing() == ())
    os.kill(parts["scheduler"], signal.SIGKILL)
    wait(lambda: group.missing() == ("scheduler",))
    os.kill(parts["triggerer"], signal.SIGKILL)
    wait(lambda: group.missing() == ("scheduler", "triggerer"))


def test_what_outlives_the_leader_is_found_by_another_process_and_ended(standalone: Standalone) -> None:
    group, parts = standalone
    os.kill(group.leader, signal.SIGKILL)
    wait(lambda: not is_alive(group.leader))
    again = AirflowGroup.from_dict(group.to_dict())
    assert again.missing() == ("standalone",)
    assert again.members() == set(parts.values())
    again.end()
    assert not any(is_alive(pid) for pid in parts.values())
    again.end()


@pytest.mark.parametrize("change", [{"started": 1}, {"boot": "another start of the machine"}])
def test_a_session_that_took_over_the_number_is_left_alone(
    standalone: Standalone, change: dict[str, object]
) -> None:
    group, parts = standalone
    other = replace(group, **change)  # type: ignore[arg-type]
    assert other.members() == set()
    other.end()
    assert all(is_alive(pid) for pid in parts.values())


def test_a_session_that_works_elsewhere_is_left_alone(standalone: Standalone, tmp_path: Path) -> None:
    group, parts = standalone
    os.kill(group.leader, signal.SIGKILL)
    wait(lambda: not is_alive(group.leader))
    replace(group, home=str(tmp_path / "elsewhere")).end()
    assert all(is_alive(pid) for pid in parts.values())


def test_a_process_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("embedded.airflow_group.STOP_LIMIT_S", 0.5)
    program = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('x', flush=True); time.sleep(300)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        group = AirflowGroup.of(process, tmp_path)
        group.end()
        assert process.wait() == -signal.SIGKILL
    assert stat(process.pid) is None
