"""What the benchmark wants of an engine, and what a case gives it."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from embedded.processes import is_alive, pids, stat

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
PEERS = CHECKOUT / ".prodsys/peers/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One run of one engine: N gen jobs, N reco jobs, one merge."""

    folder: Path
    """Empty; the engine works here."""
    n: int
    nap_s: float
    """How long a gen or reco job sleeps."""
    pool: Path
    """State folder of the pool that runs."""
    environment: dict[str, str]
    """Whole environment of the engine's commands."""

    @property
    def payload(self) -> Path:
        """The job's program."""
        return self.folder / "payload.sh"

    @property
    def trace(self) -> Path:
        """Where each execution of the payload says when it starts and ends."""
        return self.folder / "trace"

    @property
    def merged(self) -> Path:
        """The result."""
        return self.folder / "merged.txt"

    def output(self, stage: str, key: int) -> Path:
        """Return the file of one gen or reco job, where the engine leaves the choice to us."""
        return self.folder / f"{stage}.{key}"

    def inputs(self) -> list[Path]:
        """Return the merge's inputs in order."""
        return [self.output("reco", key) for key in range(self.n)]


class Engine(Protocol):
    """Runs a case on the pool, and goes on after a kill -9 as its own documentation says."""

    name: str

    def prepare(self, case: Case) -> None:
        """Lay out what the engine needs, and start what is a service; not measured."""

    def start(self) -> None:
        """Begin the work; returns once it has begun."""

    def processes(self) -> set[int]:
        """Return the engine's processes on the submit machine, the payload's not among them."""

    def ended(self) -> str | None:
        """Return None while it works, "" once it says that all went well, else what it says is wrong."""

    def resume(self) -> None:
        """Do what an operator would after the engine was killed."""

    def result(self) -> Path:
        """Return the merged file."""

    def close(self) -> None:
        """End what still runs of the engine."""


class Program(ABC):
    """An engine that is one command in the foreground, run again after a kill."""

    name = "program"

    def __init__(self) -> None:
        self.case: Case
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """Return the command that works until all is done."""

    def start(self) -> None:
        """Begin the command, its output in `engine.log`."""
        with (self.case.folder / "engine.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=self.case.folder,
                env=self.case.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def processes(self) -> set[int]:
        """Return the command and its descendants; one that has ended and is not waited for is still there."""
        return family({self._process.pid}) if self._process is not None else set()

    def ended(self) -> str | None:
        """Return what the command's end says."""
        assert self._process is not None
        # Not waited for: until `close` its own CPU time and its children's can be read.
        end = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None:
            return None
        well = end.si_code == os.CLD_EXITED and end.si_status == 0
        return "" if well else f"exit code {end.si_status}: {last_line(self.case.folder / 'engine.log')}"

    def resume(self) -> None:
        """Run the command again."""
        assert self._process is not None
        self._process.wait()
        self.start()

    def result(self) -> Path:
        """Return the file that the merge was told to write."""
        return self.case.merged

    def close(self) -> None:
        """End the command if it runs."""
        if self._process is not None:
            kill(self.processes())
            self._process.wait()


def family(roots: set[int]) -> set[int]:
    """Return the processes and all their descendants."""
    parents = {pid: found.parent for pid in pids() if (found := stat(pid))}
    mine = roots & set(parents)
    while children := {pid for pid, parent in parents.items() if parent in mine} - mine:
        mine |= children
    return mine


def kill(processes: set[int]) -> None:
    """End processes at once, and wait until they are gone."""
    for pid in processes:
        if is_alive(pid):
            os.kill(pid, signal.SIGKILL)


def last_line(file: Path) -> str:
    """Return the last line of a log that says something."""
    lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
    return lines[-1][:300] if lines else "it says nothing"


def write_payload(case: Case) -> None:
    """Write the job's program into the case's folder."""
    text = (HERE / "payload.sh.in").read_text(encoding="utf-8")
    text = text.replace("@NAP@", f"{case.nap_s:g}").replace("@TRACE@", str(case.trace))
    case.payload.write_text(text, encoding="utf-8")
    case.payload.chmod(0o755)
    case.trace.touch()
