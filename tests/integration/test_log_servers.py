"""Log servers on their own, side by side on one database."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx

from embedded.ports import free_ports
from embedded.processes import command, pids
from include.logserver.records import JobClaims, Where
from include.logserver.store import LogStore
from include.logserver.tokens import job_token, reader_token
from tests.unit.worker.conftest import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEY = "k" * 40
CLAIMS = JobClaims(tag="demo.z/t/001000/gen/recovery-0", dag_id="demo.z", stage="gen", run=1000, jobs=4)
LIMIT_S = 60


@contextmanager
def server(port: int, database: str) -> Iterator[httpx.Client]:
    """Start a server and wait until it answers."""
    program = [sys.executable, "-m", "include.logserver", "--port", str(port)]
    environment = {**os.environ, "PRODSYS_LOG_KEY": KEY, "PRODSYS_LOGS_DB": database}
    process = subprocess.Popen(program, env=environment)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=LIMIT_S) as client:
            deadline = time.monotonic() + LIMIT_S
            while True:
                try:
                    assert client.get("/v1/health").json() == {"status": "ok"}
                    break
                except httpx.TransportError:
                    assert process.poll() is None
                    assert time.monotonic() < deadline
                    time.sleep(0.1)
            yield client
    finally:
        process.terminate()
        assert process.wait(LIMIT_S) in {0, -15}


def test_two_servers_make_one_log(postgres_url: str) -> None:
    job = {"Authorization": f"Bearer {job_token(KEY, CLAIMS, expires=time.time() + 3600)}"}
    reader = {"Authorization": f"Bearer {reader_token(KEY, 'ann', expires=time.time() + 3600)}"}
    with ExitStack() as stack:
        servers = [stack.enter_context(server(port, postgres_url)) for port in free_ports((8790, 8791))]
        for n in range(12):
            for each in (servers[n % 2], servers[(n + 1) % 2]):  # and repeated, at the other
                head = {"version": 1, "execution": "7.0.1-x", "offset": 8 * n, "size": 8 * n + 8}
                body = json.dumps(head).encode() + f"\nline {n:02}\n".encode()
                assert each.post("/v1/post", content=body, headers=job).json() == {"offset": 8 * n + 8}
        assert servers[0].post("/v1/post", content=b"", headers=reader).status_code == 401
        for each in servers:
            (hit,) = each.get("/v1/search?text=line 11", headers=reader).json()["hits"]
            assert hit["line"]["text"] == "line 11"
    with LogStore(postgres_url) as store:
        (log,) = store.logs()
        assert [line.text for line in store.tail(log.id).lines] == [f"line {n:02}" for n in range(12)]
        (day,) = store.refusals().values()
        assert day == {"forged": 1}


def test_a_server_that_cannot_start_says_why(postgres_url: str) -> None:
    program = [sys.executable, "-m", "include.logserver"]
    environment = {**os.environ, "PRODSYS_LOGS_DB": postgres_url, "PRODSYS_LOG_KEY": "short"}
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("the log server's key has 5 bytes, it needs 32")


def lines_of(store: LogStore, subrun: int) -> list[str]:
    """Return what the server has of a subrun's log."""
    found = store.logs(Where(dag_id="demo.z", subrun=subrun))
    return [line.text for log in found for line in store.tail(log.id).lines]


def test_a_job_is_read_live_and_ends_as_ever_while_the_server_is_away(tmp_path: Path) -> None:
    """Two jobs; the server is stopped while the first ends, and goes on before the second does."""
    database = f"sqlite:///{tmp_path}/logs.db"
    (port,) = free_ports((8790,))
    with server(port, database), LogStore(database) as store:
        token = job_token(KEY, CLAIMS, expires=time.time() + 600)
        job = Job(tmp_path / "jobs")
        job.document["log_server"] = {"url": f"http://127.0.0.1:{port}", "token": token}
        gate = f"while [ ! -e {tmp_path}/gate.$PRODSYS_SUBRUN ]; do sleep 0.1; done"
        job.good_script(f"echo quokka; {gate}; echo wombat; echo $PRODSYS_SUBRUN went through")
        jobs = []
        for process in ("0", "1"):
            job.environment["PROCESS"] = process
            jobs.append(job.start())
        job.wait_until(lambda: all("quokka" in lines_of(store, subrun) for subrun in (3, 4)), LIMIT_S)
        assert all(log.ended is None for log in store.logs())
        assert {log.node["host"] for log in store.logs()} == {socket.gethostname()}
        (pid,) = [pid for pid in pids() if f"include.logserver --port {port} " in f"{command(pid)} "]
        os.kill(pid, signal.SIGSTOP)
        try:
            (tmp_path / "gate.3").touch()
            jobs[0].communicate(timeout=LIMIT_S)
        finally:
            os.kill(pid, signal.SIGCONT)
        (tmp_path / "gate.4").touch()
        jobs[1].communicate(timeout=LIMIT_S)
        assert [each.returncode for each in jobs] == [0, 0]
        assert [(each["exit_code"], each["error"]) for each in job.reports()] == [(0, None)] * 2
        assert len(job.published()) == 2
        job.wait_until(lambda: "4 went through" in lines_of(store, 4), LIMIT_S)
        (hit,) = store.search('"went through" 4', Where(dag_id="demo.z", subrun=4)).hits
        assert (hit.log.exit_code, hit.log.failed_at, hit.log.tag) == (0, None, CLAIMS.tag)
