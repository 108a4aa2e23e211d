"""lsst-ctrl-bps-htcondor: a generic workflow becomes a DAG, and condor_dagman runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.dagman import dagman_in, verdict
from benchmarks.peers.engine import HERE, PEERS, Program, kill

if TYPE_CHECKING:
    from benchmarks.peers.engine import Case


class Bps(Program):
    """A program that submits a DAG and ends; the schedd starts a killed condor_dagman again."""

    name = "bps"

    def prepare(self, case: Case) -> None:
        """Remember the case: all else is part of the submission."""
        self.case = case

    def command(self) -> list[str]:
        """Return the program that prepares and submits."""
        return [
            str(PEERS / "python"),
            str(HERE / "bps_workflow.py"),
            str(self.case.folder),
            str(self.case.n),
        ]

    def processes(self) -> set[int]:
        """Return the program and condor_dagman."""
        return super().processes() | dagman_in(self.case.folder)

    def ended(self) -> str | None:
        """Return what the program's end, then DAGMan's log says."""
        submitted = super().ended()
        if submitted != "":
            return submitted
        logs = list(self.case.folder.glob("submit/*.dag.dagman.out"))
        return verdict(logs[0]) if logs else None

    def resume(self) -> None:
        """Do nothing: the schedd starts DAGMan again."""

    def close(self) -> None:
        """End what still runs."""
        super().close()
        kill(dagman_in(self.case.folder))
