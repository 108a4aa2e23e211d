"""law: two workflows and a merge, submitted with condor_submit and polled with condor_q."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.peers.engine import HERE, PEERS, Program

if TYPE_CHECKING:
    from benchmarks.peers.engine import Case

CONFIG = """\
[modules]
benchmarks.peers.law_tasks

[luigi_core]
local_scheduler: True

[logging]
law: INFO
luigi-interface: INFO
"""
BOOTSTRAP = """\
export PATH="{peers}:$PATH" PYTHONPATH="{tasks}" PEERS_FOLDER="{folder}" LAW_CONFIG_FILE="{folder}/law.cfg"
export LAW_HOME="{folder}/.law"
"""


class Law(Program):
    """`law run`; after a kill the same command finds its jobs by the file in which it keeps their ids."""

    name = "law"

    def prepare(self, case: Case) -> None:
        """Write law's configuration."""
        names = {
            "PEERS_FOLDER": str(case.folder),
            "LAW_CONFIG_FILE": str(case.folder / "law.cfg"),
            "LAW_HOME": str(case.folder / ".law"),
            "PYTHONPATH": str(HERE.parents[1]),
        }
        self.case = type(case)(
            folder=case.folder,
            n=case.n,
            nap_s=case.nap_s,
            pool=case.pool,
            environment={**case.environment, **names},
        )
        (case.folder / "law.cfg").write_text(CONFIG, encoding="utf-8")
        text = BOOTSTRAP.format(peers=PEERS, tasks=HERE.parents[1], folder=case.folder)
        (case.folder / "bootstrap.sh").write_text(text, encoding="utf-8")

    def command(self) -> list[str]:
        """Return the command; law's own poll interval is a minute, this is 3 s."""
        return [
            str(PEERS / "law"),
            "run",
            "benchmarks.peers.law_tasks.Merge",
            *("--n", str(self.case.n)),
            *("--workflow", "htcondor"),
            *("--poll-interval", "3s"),
        ]
