"""The embedded pool: starting, adopting, stopping, and its binaries."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded.binaries import PackageSource, machine_binaries, private_binaries
from embedded.pool import PersonalPool
from embedded.pool_config import Limits, Node, PoolSettings
from embedded.processes import is_alive, pool_processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CHECKOUT = Path(__file__).resolve().parents[2]
BINARIES = CHECKOUT / ".prodsys/condor"


def wait(condition: Callable[[], bool], seconds: float = 240) -> None:
    """Poll until the condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.1)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A pool's folder on a long path with a space; whatever runs there is stopped."""
    folder = tmp_path / ("a space and " + "very " * 20 + "long") / "pool"
    yield folder
    PersonalPool(PoolSettings(state=folder, binaries=BINARIES)).stop()


def make(state: Path, said: list[str] | None = None, **changes: object) -> PersonalPool:
    """A pool of one node below `state`."""
    settings: dict[str, object] = {"nodes": (Node(name="wn1", cpus=2),), "port": 0, **changes}
    collected = [] if said is None else said
    return PersonalPool(PoolSettings(state=state, binaries=BINARIES, **settings), say=collected.append)  # type: ignore[arg-type]


def condor(pool: PersonalPool, *command: str) -> str:
    """Run one of condor's tools against the pool."""
    done = subprocess.run(
        command,
        env={**os.environ, **pool.environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_it_starts_on_an_awkward_path_is_adopted_and_stops(state: Path) -> None:
    said: list[str] = []
    first = make(state, said).start()
    assert first.running
    assert (first.nodes, first.schedds) == (("wn1.pool",), ("ap1.pool",))
    assert " " not in str(first.config)
    assert len(str(first.config)) < 80
    again = make(state, said).start()
    assert (again.pid, again.port) == (first.pid, first.port)
    assert "already running" in said[-1]
    pool = make(state, said)
    pool.stop()
    assert not pool.status().running
    assert pool_processes(state.resolve(), pool.config) == set()
    pool.stop()


def test_a_taken_port_is_not_used(state: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said: list[str] = []
        pool = make(state, said, port=port)
        status = pool.start()
        assert status.port != port
        assert any(f"port {port} is taken" in text for text in said)
        assert condor(pool, "condor_status", "-schedd", "-af", "Name").split() == ["ap1.pool"]


def test_stop_ends_everything_when_the_master_was_killed(state: Path, tmp_path: Path) -> None:
    pool = make(state)
    status = pool.start()
    (tmp_path / "job.sub").write_text(
        "executable = /bin/sh\ntransfer_executable = false\n"
        f"arguments = \"-c 'env -i setsid sleep 600 & touch {tmp_path}/started; sleep 600'\"\nqueue 1\n"
    )
    condor(pool, "condor_submit", str(tmp_path / "job.sub"))
    wait((tmp_path / "started").exists)
    processes = pool_processes(state.resolve(), pool.config)
    assert status.pid is not None
    os.kill(status.pid, signal.SIGKILL)
    pool.stop()
    assert [pid for pid in processes if is_alive(pid)] == []
    assert pool_processes(state.resolve(), pool.config) == set()


def test_the_queue_is_kept_over_a_restart_and_two_schedds_answer(state: Path) -> None:
    pool = make(state, schedds=("ap1", "ap2"))
    assert pool.start().schedds == ("ap1.pool", "ap2.pool")
    (state / "job.sub").write_text("executable = /bin/true\nhold = true\nqueue 2\n")
    condor(pool, "condor_submit", "-name", "ap2.pool", str(state / "job.sub"))
    pool.stop()
    pool.start()
    assert len(condor(pool, "condor_q", "-name", "ap2.pool", "-af", "ProcId").split()) == 2
    assert condor(pool, "condor_q", "-af", "ProcId") == ""


def test_jobs_get_the_path_and_their_node_its_attributes(state: Path, tmp_path: Path) -> None:
    node = Node(name="wn7", cpus=1, attributes=(("HAS_CVMFS", "False"),))
    pool = make(state, nodes=(node,), job_path="/with a space:/it's")
    pool.start()
    assert condor(pool, "condor_status", "-af", "Machine", "HAS_CVMFS", "GLIDEIN_Site").split() == [
        "wn7.pool",
        "false",
        "Embedded",
    ]
    (tmp_path / "job.sub").write_text(
        f"executable = /usr/bin/env\ntransfer_executable = false\noutput = {tmp_path}/out\nqueue 1\n"
    )
    condor(pool, "condor_submit", str(tmp_path / "job.sub"))
    wait(lambda: condor(pool, "condor_history", "-af", "ExitCode").split() == ["0"])
    assert "PATH=/with a space:/it's:/usr/local/bin:/usr/bin:/bin\n" in (tmp_path / "out").read_text()


def submit(pool: PersonalPool, folder: Path, text: str) -> None:
    """Submit what a submit file says."""
    (folder / "job.sub").write_text(text)
    condor(pool, "condor_submit", str(folder / "job.sub"))


def test_a_nodes_jobs_see_its_variables_and_its_site(state: Path, tmp_path: Path) -> None:
    value = '/a b/it\'s "$Y"'
    node = Node(name="wn1", cpus=1, site="SiteB", job_environment=(("PRODSYS_CVMFS_ROOT", value),))
    pool = make(state, nodes=(node, Node(name="wn2", cpus=1)), job_path="/opt/x y")
    pool.start()
    assert set(condor(pool, "condor_status", "-af", "GLIDEIN_Site").split()) == {"SiteB", "Embedded"}
    for name in ("wn1", "wn2"):
        submit(
            pool,
            tmp_path,
            f"executable = /usr/bin/env\ntransfer_executable = false\noutput = {tmp_path}/{name}\n"
            f'requirements = TARGET.Machine == "{name}.pool"\nqueue 1\n',
        )
    wait(lambda: condor(pool, "condor_history", "-af", "ExitCode").split() == ["0", "0"])
    seen = (tmp_path / "wn1").read_text().splitlines()
    assert f"PRODSYS_CVMFS_ROOT={value}" in seen
    assert "PATH=/opt/x y:/usr/local/bin:/usr/bin:/bin" in seen
    assert "PRODSYS_CVMFS_ROOT" not in (tmp_path / "wn2").read_text()


def test_nodes_can_hold_for_memory_and_disk(state: Path, tmp_path: Path) -> None:
    pool = make(state, limits=Limits.NODES)
    pool.start()
    program = "import time; kept = b'x' * 400_000_000; time.sleep(300)"
    (tmp_path / "memory.sh").write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{program}"\n')
    (tmp_path / "disk.sh").write_text("#!/bin/sh\nhead -c 40000000 /dev/zero > big\nsleep 300\n")
    for name in ("memory", "disk"):
        submit(
            pool,
            tmp_path,
            f"executable = {tmp_path}/{name}.sh\nrequest_memory = 100\nrequest_disk = 2000\n"
            "should_transfer_files = YES\nqueue 1\n",
        )

    def holds() -> list[str]:
        return condor(pool, "condor_q", "-hold", "-af:,", "HoldReasonCode", "HoldReasonSubCode").split("\n")[
            :-1
        ]

    wait(lambda: holds() == ["21, 102", "21, 104"])


def test_a_black_hole_gets_no_job_any_more_once_idle_jobs_exclude_it(state: Path, tmp_path: Path) -> None:
    pool = make(state, nodes=(Node(name="wn1", cpus=1), Node(name="wn3", cpus=1, black_hole=True)))
    pool.start()
    submit(
        pool,
        tmp_path,
        "executable = /bin/sleep\ntransfer_executable = false\narguments = 300\n"
        "requirements = stringListIMember(TARGET.Machine, MY.ProdsysExcludedHosts) =!= true\nqueue 40\n",
    )

    def eaten() -> int:
        return condor(pool, "condor_history", "-af", "ExitCode").split().count("127")

    wait(lambda: eaten() >= 2)
    condor(pool, "condor_qedit", "-constraint", "JobStatus == 1", "ProdsysExcludedHosts", '"wn3.pool"')
    at_edit = eaten()
    # Before this, the negotiator has looked at what is idle and found it no node.
    rejected = ("condor_q", "-constraint", "LastRejMatchTime =!= undefined", "-af", "ProcId")
    wait(lambda: condor(pool, *rejected) != "")
    # One may have started before the edit and not yet ended.
    assert eaten() <= at_edit + 1
    idle = condor(pool, "condor_q", "-constraint", "JobStatus == 1", "-af", "ProcId").count("\n")
    assert idle >= 40 - at_edit - 2


def test_the_port_is_kept_over_a_restart(state: Path) -> None:
    first = make(state).start()
    make(state).stop()
    assert make(state, port=None).start().port == first.port
    make(state).stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", first.port or 0))
        taken.listen()
        assert make(state, port=None).start().port not in (None, first.port)


def test_a_job_of_a_stopped_pool_runs_again_after_its_lease(state: Path, tmp_path: Path) -> None:
    pool = make(state, job_lease_s=20)
    pool.start()
    submit(pool, tmp_path, f"executable = /bin/sleep\narguments = 300\nlog = {tmp_path}/events\nqueue 1\n")

    def starts() -> int:
        return (tmp_path / "events").read_text().count("\n001 (")

    wait(lambda: starts() == 1)
    pool.stop()
    pool.start()
    # Until the lease ends, the schedd tries to find the job on its old node.
    wait(lambda: starts() == 2)


def test_the_machines_own_htcondor_is_used_when_it_is_on_path(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = private_binaries(BINARIES, say=lambda _: None, source=PackageSource())
    monkeypatch.setenv("PATH", f"{private.sbin}:{private.bin}:{os.environ['PATH']}")
    own = machine_binaries()
    assert own is not None
    assert not own.private
    assert own.version == private.version
    pool = PersonalPool(
        PoolSettings(state=state, binaries=state / "none", port=0, nodes=(Node(name="wn1", cpus=1),))
    )
    assert pool.start().running
    assert not (state / "none").exists()


def test_a_build_that_was_killed_is_made_again_without_network(tmp_path: Path) -> None:
    private_binaries(BINARIES, say=lambda _: None, source=PackageSource())
    home = tmp_path / "condor with space"
    shutil.copytree(BINARIES / "debs", home / "debs")
    program = (
        "import sys; from pathlib import Path; from embedded.binaries import *\n"
        "private_binaries(Path(sys.argv[1]), say=print, source=PackageSource(mirror='http://127.0.0.1:1/debian'))"
    )
    build = subprocess.Popen(
        [sys.executable, "-c", program, str(home)], cwd=CHECKOUT, stdout=subprocess.DEVNULL
    )
    wait(lambda: bool(list(home.glob("root-*/usr/sbin/condor_schedd"))))
    build.kill()
    build.wait()
    assert not (home / "built.json").exists()
    two = [subprocess.Popen([sys.executable, "-c", program, str(home)], cwd=CHECKOUT) for _ in range(2)]
    assert [process.wait(timeout=120) for process in two] == [0, 0]
    assert len(list(home.glob("root-*"))) == 1
    moved = tmp_path / "elsewhere"
    home.rename(moved)
    again = private_binaries(
        moved, say=lambda _: None, source=PackageSource(mirror="http://127.0.0.1:1/debian")
    )
    assert again.version
    assert subprocess.run([again.bin / "condor_version"], check=True, capture_output=True, timeout=60).stdout
