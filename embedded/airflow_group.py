"""The processes of one deployment's Airflow: a session of their own, found again after any of them died."""

from __future__ import annotations

import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from embedded.processes import command, end, is_alive, pids, stat, working_folder
from include.errors import ProdsysError

if TYPE_CHECKING:
    import subprocess

STOP_LIMIT_S = 20.0
PARTS = {
    "scheduler": ("airflow scheduler",),
    "triggerer": ("airflow triggerer",),
    "dag-processor": ("airflow dag-processor",),
    "api-server": ("airflow api-server", "airflow api_server"),
}
"""What `airflow standalone` starts → how the process names itself, before or after it changed its title."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Airflows started by this process, so that their end can be collected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AirflowGroup:
    """`airflow standalone` and all that it started."""

    leader: int
    """Process id of `airflow standalone`, which is the id of the session too."""
    started: int
    """When the leader started, in clock ticks since the machine's start."""
    boot: str
    """Which start of the machine that was."""
    home: str
    """AIRFLOW_HOME, where each of the processes works."""

    @classmethod
    def of(cls, process: subprocess.Popen[bytes], home: Path) -> Self:
        """Return the group that `process`, the leader of a new session working in `home`, has just begun."""
        _children[process.pid] = process
        fields = stat(process.pid)
        return cls(
            leader=process.pid,
            started=fields.started if fields else 0,
            boot=_boot(),
            home=str(home.resolve()),
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Return the group that `to_dict` wrote."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return what finds the group again, as JSON can hold it."""
        return asdict(self)

    def members(self) -> set[int]:
        """Return the living processes, none if the session's number belongs to somebody else by now."""
        if self.boot != _boot():
            return set()
        session = {pid for pid in pids() if (found := stat(pid)) and found.session == self.leader}
        living = {pid for pid in session if is_alive(pid)}
        if self.leader in living:
            fields = stat(self.leader)
            return living if fields is not None and fields.started == self.started else set()
        # The leader is gone. Linux gives its number to no process while the session has members, but it may
        # have ended long ago: they are ours if one of them works in our folder.
        return living if any(working_folder(pid) == self.home for pid in living) else set()

    def missing(self) -> tuple[str, ...]:
        """Return the parts that do not run, `standalone` for the leader itself."""
        living = self.members()
        if self.leader not in living:
            return ("standalone",)
        # A part's own children may carry its name and outlive it.
        words = [command(pid) for pid in living if (found := stat(pid)) and found.parent == self.leader]
        return tuple(
            part for part, names in PARTS.items() if not any(name in text for text in words for name in names)
        )

    def end(self) -> None:
        """End every process: politely, then not; ProdsysError if one cannot be ended."""
        for sig, limit in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, 5.0), (signal.SIGKILL, 5.0)):
            end(self.members(), sig)
            deadline = time.monotonic() + limit
            while time.monotonic() < deadline:
                self.collect()
                if not self.members():
                    _children.pop(self.leader, None)
                    return
                time.sleep(0.1)
        left = sorted(self.members())
        raise ProdsysError(f"processes of Airflow in {self.home} cannot be ended: {left}")

    def collect(self) -> int | None:
        """Return the leader's exit code if this process started it and it has ended."""
        child = _children.get(self.leader)
        return child.poll() if child is not None else None


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
