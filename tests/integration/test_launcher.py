"""A launcher on a real pool: several clusters, a death between two, a DAG; and a campaign with one."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakeLedger
from include.batch.launcher import LauncherSubmitter
from include.batch.pool import LauncherCall, SubmitRequest
from include.batch.steady_time import Clock
from include.batch.submission import SubmitLimits, submit_once
from include.bookkeeping.records import Submission, Unit
from include.campaign.states import JobStatus, SubmissionState
from include.errors import LedgerError
from tests.integration.condor_jobs import AP1, ended, new_tag, until
from tests.integration.deployments import TEST_SPECS
from tests.integration.test_campaign import failed_tasks
from tests.integration.test_jobsub import history

if TYPE_CHECKING:
    from include.batch.pool_process import PoolProcess
    from tests.integration.deployments import Site

LAUNCH = TEST_SPECS / "launched" / "launch.sh"
JOBS = 5


class Launched:
    """One submission of five jobs by a launcher."""

    def __init__(self, condor: PoolProcess, folder: Path, *, nap_s: int = 0) -> None:
        self.condor, self.folder, self.tag = condor, folder, new_tag()
        (folder / "job.sh").write_text(f'#!/bin/sh\nsleep {nap_s}\n[ -e "$CONDOR_DIR_INPUT/job.json" ]\n')
        (folder / "job.json").write_text("{}")
        self.work = folder / "work"
        self.ledger = FakeLedger(
            Submission(
                tag=self.tag,
                dag_id="demo.z",
                tranche="t",
                run=1000,
                stage="gen",
                recovery=0,
                state=SubmissionState.INTENDED,
                units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(JOBS)),
                clusters=(),
                work_dir=str(self.work),
                message="",
                intended_at=time.time(),
                submitted_at=None,
            )
        )

    def script(self, old: str, new: str) -> Path:
        """Return a launcher that differs from the good one."""
        path = self.folder / "launch.sh"
        text = LAUNCH.read_text()
        assert old in text
        path.write_text(text.replace(old, new))
        path.chmod(0o755)
        return path

    def run(self, script: Path, *, excluded: tuple[str, ...] = ()) -> Submission:
        """Submit once."""
        request = SubmitRequest(
            executable=str(self.folder / "job.sh"),
            arguments=("run", "job.json"),
            jobs=JOBS,
            group="demo",
            role=None,
            tag=self.tag,
            memory_mb=10,
            disk_kb=1000,
            cpus=1,
            lifetime_s=600,
            files=(str(self.folder / "job.json"),),
            environment=(),
            options=(),
            excluded_machines=excluded,
            launcher=LauncherCall(
                script=str(script),
                arguments=(),
                folder=str(self.work),
                job_file=str(self.folder / "job.json"),
                variables=(),
            ),
        )
        return submit_once(
            ledger_port=self.ledger,
            pool=self.condor,
            submitter=LauncherSubmitter(environment=dict(os.environ)),
            request=request,
            submission=self.ledger.rows[self.tag],
            clock=Clock(),
            limits=SubmitLimits(timeout_s=60, grace_s=3, search_every_s=0.5),
        )

    def says(self, script: Path) -> str:
        """Return what a person is told."""
        with pytest.raises(LedgerError) as caught:
            self.run(script)
        assert self.ledger.rows[self.tag].state is SubmissionState.INTENDED
        return str(caught.value)


@pytest.fixture
def launched(condor: PoolProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launched:
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(tmp_path / "submissions"))
    return Launched(condor, tmp_path)


def test_two_clusters_carry_all_lines_and_keep_off_excluded_nodes(launched: Launched) -> None:
    row = launched.run(LAUNCH, excluded=("wn1.pool", "wn2.pool"))
    assert [jobs for _, _, jobs in row.clusters] == [2, 3]
    assert row.first_units == (0, 2)
    names = ["ProdsysExcludedHosts", "OnExitRemove", "JobMachineAttrs", "Requirements", "Args"]
    for (schedd, cluster, jobs), first in zip(row.clusters, row.first_units, strict=True):
        hosts = {(ad.machine, ad.exit_code) for ad in ended(launched.condor, cluster, jobs)}
        assert not {host for host, _ in hosts} & {"wn1.pool", "wn2.pool"}
        assert {code for _, code in hosts} == {0}
        assert [ad.first_unit for ad in launched.condor.ads(schedd, [cluster])] == [first] * jobs
        ad = history(f"ClusterId == {cluster}", *names)[0]
        assert ad["ProdsysExcludedHosts"] == "wn1.pool wn2.pool"
        assert ad["Args"] == f"run job.json --first-unit {first}"
        assert ad["JobMachineAttrs"] == "Machine"
        assert "NumJobCompletions >= 3" in str(ad["OnExitRemove"])
        assert "ProdsysExcludedHosts" in str(ad["Requirements"])


def test_killed_between_two_calls(launched: Launched) -> None:
    torn = launched.script('call "$half"', 'kill -9 $$\ncall "$half"')
    said = launched.says(torn)
    ((schedd, cluster),) = {(each.schedd, each.cluster) for each in launched.condor.find_tag(launched.tag)}
    assert f"{cluster}@{schedd} has 2 jobs for units 0-1\nthat is: no job for units 2-4" in said
    assert launched.says(LAUNCH) == said
    (launched.work / "adopt").touch()
    assert launched.run(LAUNCH).clusters == ((schedd, cluster, 2),)
    assert len(launched.condor.find_tag(launched.tag)) == 1


def test_a_dag_is_told_and_launched_anew_once_it_is_removed(
    condor: PoolProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(tmp_path / "submissions"))
    launched = Launched(condor, tmp_path, nap_s=300)
    said = launched.says(launched.script('-N "$2"', '-N "$2" --maxConcurrent 1'))
    dagman = [int(number) for number in re.findall(r"(\d+)@\S+ is a DAGMan job", said)]
    assert len(dagman) == 2
    assert "the launcher must do without" in said
    assert launched.says(LAUNCH).count("is a DAGMan job") == 2
    until(lambda: len(condor.find_tag(launched.tag)) == 2)  # each DAG's first job is queued
    condor.remove(AP1, dagman, reason="the test")

    def gone() -> bool:
        tagged = [each.cluster for each in condor.find_tag(launched.tag)]
        ads = condor.ads(AP1, [*dagman, *tagged])
        return len(ads) >= 2 and all(ad.status is JobStatus.REMOVED for ad in ads)

    until(gone, seconds=120)
    row = launched.run(LAUNCH)
    assert [jobs for _, _, jobs in row.clusters] == [2, 3]
    condor.remove(AP1, [cluster for _, cluster, _ in row.clusters], reason="the test is over")


def test_a_campaign_by_a_launcher_accepts_every_subrun_once(sqlite_site: Site) -> None:
    site, dag_id = sqlite_site, "launched.two"
    site.api.wait_for_dag(dag_id, limit_s=120)
    run_id = site.api.trigger(dag_id)
    assert site.api.follow(dag_id, run_id, limit_s=600) == "success", failed_tasks(site, dag_id, run_id)
    for row in site.ledger.stage_progress(dag_id, run_id):
        assert (row.subruns, row.accepted, row.duplicates, row.unknown) == (JOBS, JOBS, 0, 0), row
    sent = {each.stage: each for each in site.ledger.submissions(dag_id, run_id)}
    gen = sent["gen"]
    assert sorted(zip(gen.first_units, [jobs for _, _, jobs in gen.clusters], strict=True)) == [
        (0, 2),
        (2, 3),
    ]
    jobs = site.ledger.jobs(gen.tag)
    places = {(cluster): first for (_, cluster, _), first in zip(gen.clusters, gen.first_units, strict=True)}
    assert sorted(job.unit for job in jobs) == list(range(JOBS))
    assert all(job.unit == places[job.cluster] + job.process for job in jobs)
    samples = site.ledger.progress(gen.tag)
    assert (samples[-1].completed, samples[-1].unknown) == (JOBS, 0)
    (merged,) = site.ledger.accepted_outputs(experiment="launched", run=gen.run, stage="merge_gen")
    lines = Path(merged.path).read_text().splitlines()
    assert lines == [f"run {gen.run} subrun {subrun}" for subrun in range(JOBS)]
    log = site.api.log(dag_id, run_id, "slice.gen.submit", map_index=0)
    assert "launch.sh" in log
