"""The check reads what prodsys_job really leaves: the two sides of docs/job-contract.md agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from include.campaign.states import SubrunState
from include.checks.reports import Expected, NodeFacts, node_facts, parse

JOB = Path(__file__).parents[3] / "include" / "worker" / "prodsys_job.py"


@pytest.fixture
def run_job(tmp_path):
    """Return a function that runs prodsys_job as HTCondor would, without HTCondor."""

    def run(site, process: int, script: str, *, section: int | None = None, **keys: object) -> int:
        folder = tmp_path / "input"
        folder.mkdir(exist_ok=True)
        (folder / "make.sh").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "make.sh").chmod(0o755)
        units = [
            {"first_subrun": unit.first_subrun, "last_subrun": unit.last_subrun, "inputs": {}}
            for unit in site.submission.units
        ]
        outputs = [
            {"name": output.name, "file_name": output.file_name, "tree": None, "events": None}
            for output in site.stage.outputs
        ]
        document = {
            "version": 1,
            "tag": site.submission.tag,
            "experiment": "demo",
            "campaign": "z",
            "stage": "gen",
        }
        document |= {"run": site.submission.run, "script": "make.sh", "arguments": [], "environment": {}}
        document |= {"events": 20, "units": units, "outputs": outputs, "merge": None}
        document |= {"outstage": str(site.outstage), "logs": str(site.logs)}
        document |= keys
        (folder / "job.json").write_text(json.dumps(document))
        environment = {"PATH": os.environ["PATH"], "CONDOR_DIR_INPUT": str(folder), "TMPDIR": str(tmp_path)}
        environment |= {
            "CLUSTER": "41",
            "PROCESS": str(process),
            "JOBSUBJOBID": f"41.{process}@ap1@pool.test",
        }
        if section is not None:
            environment["JOBSUBJOBSECTION"] = str(section)
        job = [sys.executable, str(JOB), "run", "job.json"]
        return subprocess.run(job, env=environment, cwd=tmp_path, check=False, capture_output=True).returncode

    return run


@pytest.fixture
def site(make_site):
    """A site of two jobs whose output is a text file."""
    site = make_site(2)
    outputs = (replace(site.stage.outputs[0], tree=None),)
    site.stage = replace(site.stage, outputs=outputs)
    return site


GOOD = 'echo made > "$PRODSYS_OUTPUT"; echo "$(basename "$PRODSYS_OUTPUT") 20" >> "$PRODSYS_EVENTS_FILE"'


def test_good_and_failed_job(site, run_job, ad_of):
    assert run_job(site, 0, GOOD) == 0
    assert run_job(site, 1, "echo no luck; exit 7") == 7
    site.ads = [ad_of(0), ad_of(1, exit_code=7)]
    judgement = site.judge()
    good, bad = judgement.units
    assert (good.state, bad.state) == (SubrunState.ACCEPTED, SubrunState.MISSING)
    assert good.verdicts[0].reason == ""
    assert bad.verdicts[-1].reason == "exit code 7 from generate.py"
    assert (judgement.outputs[0].events, judgement.outputs[0].size) == (20, 5)
    assert Path(judgement.outputs[0].path).read_text() == "made\n"
    assert judgement.notes == ()


def test_job_that_makes_no_output(site, run_job, ad_of):
    assert run_job(site, 0, "exit 0") == 82
    site.ads = [ad_of(0, exit_code=82)]
    reason = site.judge().units[0].verdicts[-1].reason
    assert reason.startswith("the script went well but an output is missing: ")


def test_manifest_of_a_real_job_stands_in_for_its_report(site, run_job, ad_of):
    assert run_job(site, 0, GOOD) == 0
    next(site.logs.glob("*/report.json")).unlink()
    site.ads = [ad_of(0)]
    assert site.judge().units[0].state is SubrunState.ACCEPTED


def test_section_of_a_dag_job_is_its_unit(site, run_job, ad_of):
    site.submission = replace(site.submission, clusters=(("ap1@pool.test", 41, 1), ("ap1@pool.test", 42, 1)))
    assert run_job(site, 0, GOOD, section=1) == 0
    site.ads = [ad_of(0)]
    judgement = site.judge()
    assert [unit.state for unit in judgement.units] == [SubrunState.UNKNOWN, SubrunState.ACCEPTED]
    assert judgement.jobs[0].unit == 1


def test_node_that_is_not_fit(site, run_job, ad_of):
    node = {"cvmfs": {"none.example.org": 7}, "scratch_mb": None, "guard_s": 0}
    assert run_job(site, 0, GOOD, node=node) == 85
    site.ads = [ad_of(0, exit_code=85)]
    unit = site.judge().units[0]
    assert unit.state is SubrunState.MISSING
    start = (
        f"the node is not fit for it: node {os.uname().nodename} is not fit: /cvmfs/none.example.org is not"
    )
    assert unit.verdicts[-1].reason.startswith(start)


def _report_of(site, path: Path):
    expected = Expected.of(site.submission, logs=str(site.logs), outstage=str(site.outstage))
    return parse(path.read_bytes(), file=str(path), expected=expected, mtime=0.0)


def test_node_facts_of_a_real_job(site, run_job):
    node = {"cvmfs": {"none.example.org": 0}, "guard_s": 0}
    assert run_job(site, 0, GOOD, node=node) == 85
    facts = _report_of(site, next(site.logs.glob("*/report.json"))).node
    problem = "is not mounted: there is no such folder"
    assert ("none.example.org", None, problem) in facts.cvmfs
    assert facts.host == os.uname().nodename
    assert facts.cpus
    assert facts.memory_mb
    assert facts.scratch_free_mb is not None
    assert facts.load is not None
    hash(facts)


@pytest.mark.parametrize(
    "node",
    [
        None,
        7,
        "x",
        [],
        [{"host": "wn1"}],
        {"host": 7, "site": ["x"], "slot": {}, "glidein": True, "cvmfs": [1], "cpus": "8", "memory_mb": -1},
        {"host": "", "site": "a\x00b", "scratch_free_mb": 1.5, "cpus": True, "memory_mb": 2**70},
        {"load_1min": "1", "cvmfs": {"": {}, "a\x00": {}, "x" * 201: {}, "b": 7, "c": None, "d": [[[[]]]]}},
        {"load_1min": True},
        {"load_1min": -1.0},
        {"load_1min": 10**400},
    ],
)
def test_facts_that_are_not_as_documented_are_left_out(site, seal, node):
    execution = site.execute(0)
    document = site.document(0, execution=execution, files=[], node=node)
    path = site.logs / execution / "report.json"
    path.write_bytes(seal(document))
    report = _report_of(site, path)
    assert (report.node, report.good) == (NodeFacts(), True)


def test_huge_facts_are_cut():
    cvmfs = {f"{number:06d}.org": {"revision": number, "problem": "p" * 5000} for number in range(50_000)}
    facts = node_facts({"host": "h" * 10**6, "cvmfs": cvmfs, "load_1min": 3})
    assert facts.host == "h" * 200
    assert facts.load == 3
    assert len(facts.cvmfs) == 64
    assert facts.cvmfs[1] == ("000001.org", 1, "p" * 200)
