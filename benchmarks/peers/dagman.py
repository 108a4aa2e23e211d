"""DAGMan: a node for each gen and reco job and one for the merge."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.peers.engine import Case, kill, last_line
from embedded.processes import command, pids

if TYPE_CHECKING:
    from pathlib import Path

SUBMIT = """\
executable = {payload}
arguments = $(what)
log = nodes.log
output = logs/$(JOB).out
error = logs/$(JOB).err
request_memory = 100MB
request_disk = 50MB
queue
"""
DEFAULT = {"DAGMAN_USER_LOG_SCAN_INTERVAL": "5"}
"""HTCondor's own default; the embedded pool's is 1."""
TUNED = {
    "DAGMAN_USER_LOG_SCAN_INTERVAL": "1",
    "DAGMAN_MAX_SUBMITS_PER_INTERVAL": "1000",
    "DAGMAN_SUBMIT_DELAY": "0",
    "DAGMAN_SUBMIT_DEPTH_FIRST": "True",
}


class Dagman:
    """`condor_submit_dag`; the schedd starts a killed condor_dagman again by itself, which reads its log."""

    def __init__(self, name: str = "DAGMan", settings: dict[str, str] | None = None) -> None:
        self.name = name
        self._settings = DEFAULT if settings is None else settings
        self.case: Case

    def prepare(self, case: Case) -> None:
        """Write the DAG and its submit file."""
        self.case = case
        (case.folder / "logs").mkdir()
        (case.folder / "job.sub").write_text(SUBMIT.format(payload=case.payload), encoding="utf-8")
        (case.folder / "dag.conf").write_text(
            "".join(f"{key} = {value}\n" for key, value in self._settings.items()), encoding="utf-8"
        )
        lines = ["CONFIG dag.conf"]
        for key in range(case.n):
            gen, reco = case.output("gen", key), case.output("reco", key)
            lines += [
                f"JOB gen{key} job.sub",
                f'VARS gen{key} what="gen {key} {gen}"',
                f"JOB reco{key} job.sub",
                f'VARS reco{key} what="reco {key} {reco} {gen}"',
                f"PARENT gen{key} CHILD reco{key}",
            ]
        inputs = " ".join(str(file) for file in case.inputs())
        lines += ["JOB merge job.sub", f'VARS merge what="merge 0 {case.merged} {inputs}"']
        lines.append(f"PARENT {' '.join(f'reco{key}' for key in range(case.n))} CHILD merge")
        (case.folder / "chain.dag").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        """Submit the DAG."""
        subprocess.run(
            ["condor_submit_dag", "chain.dag"],
            cwd=self.case.folder,
            env=self.case.environment,
            capture_output=True,
            check=True,
            timeout=120,
        )

    def processes(self) -> set[int]:
        """Return condor_dagman, which the schedd starts in the DAG's folder."""
        return dagman_in(self.case.folder)

    def ended(self) -> str | None:
        """Return what DAGMan's log says last."""
        return verdict(self.case.folder / "chain.dag.dagman.out")

    def resume(self) -> None:
        """Do nothing: the schedd starts it again."""

    def result(self) -> Path:
        """Return the file that the merge was told to write."""
        return self.case.merged

    def close(self) -> None:
        """End DAGMan where it still runs."""
        kill(self.processes())


def dagman_in(folder: Path) -> set[int]:
    """Return the condor_dagman that works below a folder."""
    return {
        pid
        for pid in pids()
        if "condor_dagman" in (words := command(pid)).split(" ")[0] and str(folder) in words + _cwd(pid)
    }


def _cwd(pid: int) -> str:
    from embedded.processes import working_folder

    return working_folder(pid) or ""


def verdict(log: Path) -> str | None:
    """Return None while DAGMan works, "" once it ended well, else its last line."""
    words = last_line(log) if log.exists() else ""
    if "EXITING WITH STATUS" not in words:
        return None
    return "" if words.rstrip().endswith("STATUS 0") else words
