"""prodsys: one campaign of two stages and a merge; Airflow is up before the work begins, as a service is."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.peers.engine import CHECKOUT, Case, kill
from embedded.airflow_api import AirflowApi
from embedded.deployment import Deployment
from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings
from embedded.processes import with_descendants

if TYPE_CHECKING:
    from pathlib import Path

DAG_ID = "peers.chain"
SPEC = """\
version: 1
description: Two stages and a merge
owner: peers
runs: {{first: 1, last: 9}}
slices: 1
subruns: {n}
defaults: {{memory: 100 MB, disk: 50 MB, lifetime: 1 h, success_threshold: 1.0}}
stages:
  gen:
    script: gen.sh
    output: "dts.peers.chain.{{run:06d}}_{{subrun:08d}}.txt"
  reco:
    script: reco.sh
    inputs: {{signal: gen}}
    output: "mcs.peers.chain.{{run:06d}}_{{subrun:08d}}.txt"
merge:
  reco:
    output: "mcs.peers.merged.{{run:06d}}_{{subrun:08d}}.txt"
    target_size: 2 GB
    method: command
    script: merge.sh
"""
SCRIPTS = {
    "gen.sh": 'exec {payload} gen "$PRODSYS_SUBRUN" "$PRODSYS_OUTPUT"',
    "reco.sh": 'exec {payload} reco "$PRODSYS_SUBRUN" "$PRODSYS_OUTPUT" "$(cat "$PRODSYS_INPUTS")"',
    "merge.sh": 'output=$1; shift; exec {payload} merge 0 "$output" "$@"',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPool(Deployment):
    """A deployment that uses the benchmark's pool in place of one of its own."""

    pool_state: Path

    @property
    def pool(self) -> PersonalPool:
        """The benchmark's pool, which runs already."""
        settings = PoolSettings(state=self.pool_state, binaries=self.binaries)
        return PersonalPool(settings, say=self.say)


class Prodsys:
    """A dag_run; after a kill of all of Airflow the operator says `prodsys up`."""

    name = "prodsys"

    def __init__(self) -> None:
        self.case: Case
        self.deployment: OnPool
        self._run_id = ""

    def prepare(self, case: Case) -> None:
        """Write the campaign, start Airflow, and wait until it knows the campaign."""
        self.case = case
        specs = case.folder / "specs/peers"
        specs.mkdir(parents=True)
        (specs / "chain.yaml").write_text(SPEC.format(n=case.n), encoding="utf-8")
        for name, text in SCRIPTS.items():
            file = specs / name
            file.write_text(f"#!/bin/sh\n{text.format(payload=case.payload)}\n", encoding="utf-8")
            file.chmod(0o755)
        self.deployment = OnPool(
            state=case.folder / "prodsys",
            specs=case.folder / "specs",
            binaries=CHECKOUT / ".prodsys/condor",
            pool_state=case.pool,
            say=lambda _: None,
        )
        self.deployment.start()
        with AirflowApi(self.deployment) as api:
            api.wait_for_dag(DAG_ID, limit_s=180)

    def start(self) -> None:
        """Trigger the dag_run."""
        with AirflowApi(self.deployment) as api:
            self._run_id = api.trigger(DAG_ID)

    def processes(self) -> set[int]:
        """Return all of Airflow, with the helper that asks HTCondor."""
        group = self.deployment.airflow()
        return with_descendants(group.members()) if group is not None else set()

    def ended(self) -> str | None:
        """Return what the dag_run's state says, read where it costs Airflow nothing."""
        file = self.deployment.home / "airflow.db"
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30) as database:
            query = "SELECT state FROM dag_run WHERE run_id = ?"
            found = database.execute(query, (self._run_id,)).fetchone()
        database.close()
        if found is None or found[0] not in {"success", "failed"}:
            return None
        return "" if found[0] == "success" else "the dag_run failed"

    def resume(self) -> None:
        """Start what was killed."""
        self.deployment.start()

    def result(self) -> Path:
        """Return the merged file in the campaign's outstage."""
        found = [
            file
            for file in self.deployment.area.rglob("mcs.peers.merged.*.txt")
            if not any(part.endswith(".part") for part in file.parts)
        ]
        return found[0] if found else self.case.merged

    def close(self) -> None:
        """Stop Airflow."""
        if hasattr(self, "deployment"):
            group = self.deployment.airflow()
            if group is not None:
                kill(group.members())
                group.end()
