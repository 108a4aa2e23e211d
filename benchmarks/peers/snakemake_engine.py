"""Snakemake with its HTCondor executor: a job for each gen and reco file, and one for the merge."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from benchmarks.peers.engine import PEERS, Program

if TYPE_CHECKING:
    from benchmarks.peers.engine import Case

SNAKEFILE = """\
N = {n}
RESOURCES = dict(request_memory="200MB", request_disk="50MB")
rule merge:
    input: [f"reco.{{key}}" for key in range(N)]
    output: "merged.txt"
    resources: **RESOURCES
    shell: "{payload} merge 0 {{output}} {{input}}"
rule gen:
    output: "gen.{{key}}"
    resources: **RESOURCES
    shell: "{payload} gen {{wildcards.key}} {{output}}"
rule reco:
    input: "gen.{{key}}"
    output: "reco.{{key}}"
    resources: **RESOURCES
    shell: "{payload} reco {{wildcards.key}} {{output}} {{input}}"
"""


class Snakemake(Program):
    """`snakemake --executor htcondor`; after a kill it is unlocked, and run again with --rerun-incomplete."""

    name = "Snakemake"

    def prepare(self, case: Case) -> None:
        """Write the Snakefile."""
        self.case = case
        text = SNAKEFILE.format(n=case.n, payload=case.payload)
        (case.folder / "Snakefile").write_text(text, encoding="utf-8")

    def command(self) -> list[str]:
        """Return the command; Snakemake's own interval between status checks is 10 s, this is 3 s."""
        return [
            str(PEERS / "snakemake"),
            *("--executor", "htcondor"),
            *("--jobs", "10000"),
            *("--seconds-between-status-checks", "3"),
            "--rerun-incomplete",
        ]

    def resume(self) -> None:
        """Unlock the folder, and run the command again."""
        unlock = [str(PEERS / "snakemake"), "--unlock"]
        subprocess.run(
            unlock,
            cwd=self.case.folder,
            env=self.case.environment,
            capture_output=True,
            check=True,
            timeout=300,
        )
        super().resume()
