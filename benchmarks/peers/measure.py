"""What a case did to machine and schedd, from /proc, the payload's trace, SchedLog and the history."""

from __future__ import annotations

import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.peers.engine import Case

TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = re.compile(rb"Calling HandleReq <\w+> \(\d+\) for command \d+ \((\w+)\)")
QUERIES = ("QUERY_JOB_ADS", "QUERY_JOB_ADS_WITH_AUTH", "QMGMT_READ_CMD", "QUERY_SCHEDD_HISTORY")
"""Commands by which a client asks the schedd about jobs."""


def cpu_s(processes: Iterable[int]) -> float:
    """Return the CPU seconds of processes, with those of the children that they have waited for."""
    total = 0
    for pid in processes:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(field) for field in fields[11:15])
    return total / TICKS


class Meter:
    """CPU time of an engine whose processes come and go, from the beginning of the work."""

    def __init__(self, processes: set[int]) -> None:
        self._before = cpu_s(processes)
        self._kept = 0.0
        self._now = 0.0

    def read(self, processes: set[int]) -> float:
        """Return the seconds until now; of processes that have ended, what the last reading saw."""
        self._now = max(self._now, cpu_s(processes) - self._before)
        return self._kept + self._now

    def killed(self) -> None:
        """Keep what was read: from now on there are other processes."""
        self._kept += self._now
        self._before = self._now = 0.0


class ScheddLog:
    """The commands that a schedd was sent, by its own log."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._at = file.stat().st_size

    def commands(self) -> dict[str, int]:
        """Return command → how often since this object was made."""
        with self._file.open("rb") as log:
            log.seek(self._at)
            return {name.decode(): n for name, n in Counter(COMMAND.findall(log.read())).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Executions:
    """What the payload's trace tells."""

    started: int
    completed: int
    wanted: int
    """Distinct jobs that completed."""
    gen_completed: int

    @property
    def duplicates(self) -> int:
        """Completed executions of what had completed."""
        return self.completed - self.wanted

    @property
    def broken_off(self) -> int:
        """Executions that started and did not complete."""
        return self.started - self.completed


def executions(case: Case) -> Executions:
    """Read the trace."""
    lines = [line.split() for line in case.trace.read_text(encoding="utf-8").splitlines()]
    ends = [(line[1], line[2]) for line in lines if line[0] == "end"]
    return Executions(
        started=sum(line[0] == "start" for line in lines),
        completed=len(ends),
        wanted=len(set(ends)),
        gen_completed=sum(stage == "gen" for stage, _ in ends),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job of the payload in the schedd's history."""

    cluster: int
    queued: int
    """Epoch seconds."""


def history(environment: dict[str, str], *, after: int) -> list[JobRow]:
    """Return the vanilla jobs of clusters above `after`, in the order in which they were queued."""
    command = ["condor_history", "-constraint", f"ClusterId > {after} && JobUniverse == 5"]
    done = subprocess.run(
        [*command, "-af", "ClusterId", "QDate"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    rows = [line.split() for line in done.stdout.splitlines()]
    found = [JobRow(cluster=int(row[0]), queued=int(row[1])) for row in rows]
    return sorted(found, key=lambda row: (row.queued, row.cluster))


def last_cluster(environment: dict[str, str]) -> int:
    """Return the newest cluster in the schedd's history or queue, 0 where there is none."""
    newest = 0
    for command in (["condor_history", "-limit", "1"], ["condor_q", "-allusers"]):
        done = subprocess.run(
            [*command, "-af", "ClusterId"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        newest = max([newest, *(int(line) for line in done.stdout.split())])
    return newest


def merged_in_order(file: Path, n: int) -> bool:
    """Say whether the merged file has each reco output once, in order."""
    return file.exists() and file.read_text(encoding="utf-8").splitlines() == [
        f"reco {key}" for key in range(n)
    ]
