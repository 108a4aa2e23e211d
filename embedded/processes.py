"""Finding and ending processes, also those whose parent died; which ones are the pool's."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable

MARK = "PRODSYS_POOL_STATE"
"""In the environment of every daemon, and of nothing else: a person's shell has CONDOR_CONFIG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """What /proc/PID/stat says of a process."""

    state: str
    """One letter; Z is a zombie."""
    parent: int
    session: int
    started: int
    """Clock ticks since the machine's start."""


def stat(pid: int) -> Stat | None:
    """Return the facts of a process, None if there is none."""
    try:
        # The name in parentheses may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return Stat(state=fields[0], parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]))


def is_alive(pid: int) -> bool:
    """Say whether a process runs; a zombie does not."""
    found = stat(pid)
    return found is not None and found.state != "Z"


def has_mark(pid: int, state: Path) -> bool:
    """Say whether a process is a daemon (or its child) of the pool whose folder is `state`."""
    return f"{MARK}={state}".encode() in _environment(pid)


def pool_processes(state: Path, config: Path) -> set[int]:
    """Return the pool's living processes: its daemons, its jobs, and all that they started."""
    mine = {pid for pid in pids() if is_alive(pid) and _belongs(pid, state, config)}
    return {pid for pid in with_descendants(mine) if is_alive(pid)} - {os.getpid()}


def with_descendants(processes: Iterable[int]) -> set[int]:
    """Return processes and all that they have started, in sessions of its own too."""
    found = set(processes)
    parents = {pid: facts.parent for pid in pids() if (facts := stat(pid))}
    growing = True
    while growing:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        found |= children
        growing = bool(children)
    return found


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
    folder = working_folder(pid)
    return folder is not None and Path(folder).is_relative_to(state / "execute")


def pids() -> list[int]:
    """Return every process of the machine."""
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


def working_folder(pid: int) -> str | None:
    """Return where a process works, None where that is not known."""
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return None


def command(pid: int) -> str:
    """Return a process's command line, or the title it gave itself; empty where that is not known."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""
