"""Prepare and submit the chain with lsst-ctrl-bps-htcondor: bps_workflow.py FOLDER N.

Runs in the peers' Python.

`bps submit` makes its workflow with a Butler and a pipeline; from the workflow on this is what it does.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lsst.ctrl.bps import BpsConfig, GenericWorkflow, GenericWorkflowExec, GenericWorkflowJob
from lsst.ctrl.bps.htcondor import HTCondorService


def workflow(folder: Path, n: int) -> GenericWorkflow:
    """Return the chain."""
    made = GenericWorkflow("chain", bps_isjob="True", bps_runsite="pool", bps_run="chain")
    payload = GenericWorkflowExec("payload", str(folder / "payload.sh"), transfer_executable=False)

    def add(name: str, label: str, arguments: str, parents: list[str]) -> None:
        job = GenericWorkflowJob(
            name=name,
            label=label,
            executable=payload,
            arguments=arguments,
            request_memory=100,
            request_cpus=1,
            number_of_retries=0,
        )
        made.add_job(job, parent_names=parents)

    for key in range(n):
        gen, reco = folder / f"gen.{key}", folder / f"reco.{key}"
        add(f"gen{key}", "gen", f"gen {key} {gen}", [])
        add(f"reco{key}", "reco", f"reco {key} {reco} {gen}", [f"gen{key}"])
    inputs = " ".join(str(folder / f"reco.{key}") for key in range(n))
    add("merge", "merge", f"merge 0 {folder / 'merged.txt'} {inputs}", [f"reco{key}" for key in range(n)])
    return made


def main(folder: Path, n: int) -> None:
    """Prepare below `folder`/submit, and submit."""
    submit = folder / "submit"
    submit.mkdir()
    config = BpsConfig(
        {
            "computeSite": "pool",
            "site": {"pool": {"profile": {"condor": {}}}},
            "submitPath": str(submit),
            "uniqProcName": "chain",
            "wmsServiceClass": "lsst.ctrl.bps.htcondor.HTCondorService",
            "operator": "peers",
            "project": "peers",
            "campaign": "peers",
            "payload": {"payloadName": "chain"},
            "subDirTemplate": "{label}",
        },
    )
    service = HTCondorService(config)
    prepared = service.prepare(config, workflow(folder, n), out_prefix=str(submit))
    service.submit(prepared)
    print(prepared.run_id)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
