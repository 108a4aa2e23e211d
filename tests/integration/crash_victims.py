"""What a crash test kills, and what brings it up again, as a machine's service manager would."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.airflow_group import PARTS
from embedded.processes import command, end, has_mark, is_alive, pids, stat, working_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from embedded.deployment import Deployment
    from tests.postgres import PostgresServer

TASK, TASK_SOON = "task", "task soon"
"""These kill themselves: at the point, or a moment later."""
DAEMONS = {"schedd": "condor_schedd", "shadow": "condor_shadow", "startd": "condor_startd"}
DATABASE, EVERYTHING = "ledger database", "everything"
VICTIMS = (TASK, TASK_SOON, *PARTS, *DAEMONS, DATABASE, EVERYTHING)
DEAD_FOR_S = 1.0


class Victims:
    """The processes of one site."""

    def __init__(self, deployment: Deployment, ledger: PostgresServer, metadata: PostgresServer) -> None:
        self._deployment, self._ledger, self._metadata = deployment, ledger, metadata
        self._home = str(deployment.home.resolve())
        self._started: list[subprocess.Popen[bytes]] = []
        self._dead_until = 0.0

    def kill(self, victim: str) -> None:
        """Kill a victim, a part of Airflow with all that it started, as a service manager does.

        A scheduler killed alone leaves children that keep its connection to Airflow's database open, and with
        it the locks of its transaction: no other scheduler gets any further.
        """
        acts: dict[str, Callable[[], None]] = {
            DATABASE: self._ledger.kill,
            EVERYTHING: self._everything,
            **{part: lambda part=part: self._part(part) for part in PARTS},  # type: ignore[misc]
            **{name: lambda name=name: self._daemon(name) for name in DAEMONS},  # type: ignore[misc]
        }
        acts[victim]()
        self._dead_until = time.monotonic() + DEAD_FOR_S

    def revive(self) -> None:
        """Start again what does not run; HTCondor's master does so for its daemons."""
        if time.monotonic() < self._dead_until:
            return
        self._ledger.start()
        self._metadata.start()
        if not any(self._daemons("condor_master")):
            self._deployment.pool.start()
        for process in self._started:
            process.poll()  # collects those that have ended
        for part in PARTS:
            if not any(True for _ in self._parts(part)):
                self._start(part)

    def end(self) -> None:
        """End all of Airflow."""
        end(self._airflow(), signal.SIGKILL)
        for process in self._started:
            process.wait()

    def _start(self, part: str) -> None:
        airflow = Path(sys.executable).parent / "airflow"
        with self._deployment.log_file.open("ab") as log:
            self._started.append(
                subprocess.Popen(
                    [sys.executable, str(airflow), part],
                    env=self._deployment.environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    cwd=self._home,
                )
            )

    def _part(self, part: str) -> None:
        mine = set(self._parts(part))
        parents = {pid: found.parent for pid in self._airflow() if (found := stat(pid))}
        while more := {pid for pid, parent in parents.items() if parent in mine} - mine:
            mine |= more
        end(mine, signal.SIGKILL)

    def _everything(self) -> None:
        end(self._airflow(), signal.SIGKILL)
        end(self._daemons("condor_"), signal.SIGKILL)
        self._ledger.kill()
        self._metadata.kill()

    def _daemon(self, name: str) -> None:
        end(list(self._daemons(DAEMONS[name]))[:1], signal.SIGKILL)

    def _daemons(self, name: str) -> Iterable[int]:
        state = self._deployment.pool.settings.state.resolve()
        for pid in pids():
            if is_alive(pid) and _name(pid).startswith(name) and has_mark(pid, state):
                yield pid

    def _airflow(self) -> list[int]:
        """Return all processes of this Airflow, tasks included: each works in its folder."""
        return [pid for pid in pids() if is_alive(pid) and working_folder(pid) == self._home]

    def _parts(self, part: str) -> Iterable[int]:
        """Yield the processes that are the part, not those that it has started."""
        ours = {pid: command(pid) for pid in self._airflow()}
        for pid, words in ours.items():
            found = stat(pid)
            named = any(name in words for name in PARTS[part])
            parent = ours.get(found.parent, "") if found else ""
            if named and not any(name in parent for name in PARTS[part]):
                yield pid


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8", errors="replace").strip()
    return ""


def wait_for_signal(folder: Path) -> list[str]:
    """Return the points at which a process waits for its victim's end."""
    done = set(os.listdir(folder / "done"))  # noqa: PTH208  names are enough
    return [name for name in os.listdir(folder / "fired") if name not in done]  # noqa: PTH208
