"""Single jobs of a real pool: released, removed, kept off nodes, suspected nodes, run twice."""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, Any

from embedded.pool_config import default_nodes
from include.batch.duplicates import why_several
from include.batch.requirements import REQUIREMENT
from include.campaign.states import JobStatus
from tests.integration.condor_jobs import AP1, act, ended, new_tag, submit, until

if TYPE_CHECKING:
    from pathlib import Path

    from include.batch.pool_process import PoolProcess


def test_chosen_jobs_are_released_with_more_memory_or_removed(condor: PoolProcess) -> None:
    cluster = submit(new_tag(), "exit 0", jobs=4, hold="true")
    other = submit(new_tag(), "exit 0", hold="true")
    chosen = [(cluster, 0), (cluster, 1), (cluster, 77)]
    assert condor.release_jobs(AP1, chosen, reason="more memory", memory_mb=21) == 2
    assert condor.remove_jobs(AP1, [(cluster, 2), (999_999_999, 0)], reason="of no use") == 1
    assert condor.remove_jobs(AP1, [(cluster, 2)], reason="again") == 0
    assert condor.remove_jobs(AP1, [(cluster, 0)], reason="it is held no more") == 0
    assert condor.release_jobs(AP1, [], reason="none") == 0
    until(lambda: condor.counts(AP1, {cluster: 4}, now=time.time())[cluster].ended == 3)
    ads = condor.ads(AP1, [cluster])
    assert [(ad.status, ad.requested_memory_mb) for ad in ads] == [
        (JobStatus.COMPLETED, 21),
        (JobStatus.COMPLETED, 21),
        (JobStatus.REMOVED, 10),
        (JobStatus.HELD, 10),
    ]
    assert "of no use" in (ads[2].remove_reason or "")
    assert condor.release_jobs(AP1, chosen, reason="they are gone", memory_mb=22) == 0
    condor.remove(AP1, [cluster, other], reason="the test is over")


def test_waiting_jobs_keep_off_a_node_that_is_excluded_now(condor: PoolProcess) -> None:
    """The node's claims are not used again either; a match that is made already is."""
    slots = sum(node.cpus for node in default_nodes())
    jobs, own = slots + 6, default_nodes()[0].cpus
    cluster = submit(new_tag(), "exec sleep 3", jobs=jobs, requirements=REQUIREMENT)

    def full() -> bool:
        ads = condor.ads(AP1, [cluster])
        return sum(ad.status is JobStatus.RUNNING and ad.machine == "wn1.pool" for ad in ads) >= own

    until(full)
    told = condor.exclude(AP1, [cluster], machines=["wn1.pool"], sites=["Nowhere"])
    assert told > 0
    assert condor.exclude(AP1, [cluster], machines={"wn1.pool"}, sites=("Nowhere",)) == 0
    ads = ended(condor, cluster, jobs)
    on_it = sum(ad.machine == "wn1.pool" for ad in ads)
    assert 0 < on_it <= jobs - told
    assert sum(ad.machine != "wn1.pool" for ad in ads) >= told


def test_a_node_that_eats_jobs_is_suspected(condor: PoolProcess) -> None:
    script = 'grep -q wn1.pool "$_CONDOR_MACHINE_AD" && { sleep 1; exit 1; }; exec sleep 60'
    cluster = submit(new_tag(), script.replace('"', '""'), jobs=12)

    def first() -> Any:
        counts = condor.counts(AP1, {cluster: 12}, now=time.time())[cluster]
        return next((node for node in counts.suspects if node.peers_outlasted), None)

    node = until(first)
    assert node.machine == "wn1.pool"
    assert node.good == node.peers_failed_fast == 0
    assert node.bad >= 2
    assert node.bad_slowest_s < 60
    assert node.peer_nodes >= 1
    condor.remove(AP1, [cluster], reason="the test is over")
    until(lambda: condor.counts(AP1, {cluster: 12}, now=time.time())[cluster].ended == 12)


def test_ended_jobs_that_stay_in_the_queue_count_for_their_nodes(condor: PoolProcess) -> None:
    cluster = submit(new_tag(), "exit $0", jobs=2, leave_in_queue="true")
    until(lambda: condor.counts(AP1, {cluster: 2}, now=time.time())[cluster].completed == 2)
    counts = condor.counts(AP1, {cluster: 2}, now=time.time())[cluster]
    ads = condor.ads(AP1, [cluster])
    assert [(ad.exit_code, ad.rows) for ad in ads] == [(0, 1), (1, 1)]
    assert counts.failing_nodes == (ads[0].machine != ads[1].machine)
    assert condor.remove_jobs(AP1, [(cluster, 0), (cluster, 1)], reason="they ended") == 0
    condor.remove(AP1, [cluster], reason="the test is over")


def test_an_evicted_job_says_that_it_ran_again(condor: PoolProcess, tmp_path: Path) -> None:
    log, go = tmp_path / "job.log", tmp_path / "go"
    cluster = submit(new_tag(), f"until [ -e {go} ]; do sleep 0.2; done", jobs=2, log=str(log))
    # The ads say running before the starter has begun; the log's event 001 comes after.
    until(lambda: log.exists() and log.read_text().count("\n001 (") == 2)
    done = subprocess.run(["condor_vacate_job", "-fast", f"{cluster}.0"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    act("Hold", f"ClusterId == {cluster} && ProcId == 1")
    until(lambda: log.read_text().count("\n001 (") == 3)
    until(lambda: condor.counts(AP1, {cluster: 2}, now=time.time())[cluster].held)
    assert condor.release_jobs(AP1, [(cluster, 1)], reason="test") == 1
    go.touch()
    ads = ended(condor, cluster, 2)
    assert [(ad.starts, ad.evictions, ad.holds, ad.rows) for ad in ads] == [(2, 1, 0, 1), (2, 1, 1, 1)]
    assert ads[0].event_log == str(log)
    assert "was started 2 times by HTCondor (evicted once)" in why_several(ads[:1], 2, 1)
    assert "was started 2 times by HTCondor (held once)" in why_several(ads[1:], 2, 1)
