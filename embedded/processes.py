"""Finding and ending the pool's processes, also those whose parent died."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

MARK = "PRODSYS_POOL_STATE"
"""In the environment of every daemon, and of nothing else: a person's shell has CONDOR_CONFIG."""


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def has_mark(pid: int, state: Path) -> bool:
    """Say whether a process is a daemon (or its child) of the pool whose folder is `state`."""
    return f"{MARK}={state}".encode() in _environment(pid)


def pool_processes(state: Path, config: Path) -> set[int]:
    """Return the pool's living processes: its daemons, its jobs, and all that they started."""
    mine = {pid for pid in _pids() if is_alive(pid) and _belongs(pid, state, config)}
    parents = {pid: _parent(pid) for pid in _pids()}
    growing = True
    while growing:
        children = {pid for pid, parent in parents.items() if parent in mine} - mine
        mine |= children
        growing = bool(children)
    return {pid for pid in mine if is_alive(pid)} - {os.getpid()}


def end(pids: Iterable[int], sig: signal.Signals) -> None:
    """Send a signal to each of the processes that is still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, sig)


def wait_gone(pids: Iterable[int], timeout_s: float) -> bool:
    """Wait until none of the processes lives; False if the time was not enough."""
    deadline = time.monotonic() + timeout_s
    left = set(pids)
    while left := {pid for pid in left if is_alive(pid)}:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _belongs(pid: int, state: Path, config: Path) -> bool:
    variables = _environment(pid)
    if f"{MARK}={state}".encode() in variables:
        return True
    scratch = f"_CONDOR_SCRATCH_DIR={config.parent}/execute/".encode()
    if any(variable.startswith(scratch) for variable in variables):
        return True
    if f"CONDOR_CONFIG={config}".encode() in variables and _name(pid).startswith("condor_"):
        return True
    folder = _link(pid, "cwd")
    return folder is not None and folder.is_relative_to(state / "execute")


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208 - names are enough


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _link(pid: int, name: str) -> Path | None:
    try:
        return Path(f"/proc/{pid}/{name}").readlink()
    except OSError:
        return None


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
