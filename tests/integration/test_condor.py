"""HTCondor as prodsys sees it: counts, ads, tags, silence, waiting and submitting once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from embedded.pool import PersonalPool
from embedded.pool_config import Node, PoolSettings
from include.batch.fake import FakeLedger
from include.batch.jobsub import JobsubSubmitter
from include.batch.pool import Awaited, ClusterCounts, ClusterId, SubmitRequest
from include.batch.pool_process import CONDOR, PoolProcess
from include.batch.steady_time import Clock
from include.batch.submission import SubmitLimits, submit_once
from include.batch.watcher import ScheddWatcher
from include.bookkeeping.records import Submission, Unit
from include.campaign.states import JobStatus, SubmissionState
from include.errors import (
    LedgerError,
    ScheddUnlisted,
    ScheddUnreachable,
    SubmissionAmbiguous,
    SubmissionRefused,
)
from tests.integration.condor_jobs import AP1, act, ended, new_tag, submit, until

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_exit_codes_and_signals(condor: PoolProcess) -> None:
    tag = new_tag()
    cluster = submit(tag, "[ $0 = 2 ] && kill -9 $$; exit $0", jobs=4)
    ads = ended(condor, cluster, 4)
    assert [(ad.process, ad.status, ad.exit_code, ad.exit_signal) for ad in ads] == [
        (0, JobStatus.COMPLETED, 0, None),
        (1, JobStatus.COMPLETED, 1, None),
        (2, JobStatus.COMPLETED, None, 9),
        (3, JobStatus.COMPLETED, 3, None),
    ]
    ad = ads[0]
    assert ad.tag == tag
    assert ad.schedd == AP1
    assert ad.host
    assert ad.global_job_id
    assert ad.starts == ad.shadow_starts == 1
    assert ad.queued_at
    assert ad.started_at
    assert ad.ended_at
    assert ad.queued_at <= ad.started_at <= ad.ended_at <= time.time() + 1


def test_held_removed_and_their_reasons(condor: PoolProcess) -> None:
    cluster = submit(new_tag(), "exec sleep 600", jobs=3)
    act("Hold", f"ClusterId == {cluster} && ProcId == 1")
    counts = until(lambda: (c := condor.counts(AP1, {cluster: 3}, now=time.time())[cluster]).held == 1 and c)
    assert counts.idle + counts.running == 2
    assert 0 <= counts.held_shortest_s <= counts.held_longest_s < 30
    act("Remove", f"ClusterId == {cluster} && ProcId == 2")
    until(lambda: condor.counts(AP1, {cluster: 3}, now=time.time())[cluster].removed == 1)
    ads = {ad.process: ad for ad in condor.ads(AP1, [cluster])}
    assert (ads[1].status, ads[1].hold_code, ads[1].hold_subcode) == (JobStatus.HELD, 1, 7)
    assert "test" in (ads[1].hold_reason or "")
    assert (ads[2].status, ads[2].exit_code) == (JobStatus.REMOVED, None)
    assert "test" in (ads[2].remove_reason or "")
    assert ads[2].ended_at
    condor.remove(AP1, [cluster], reason="the test is over")
    rest = ended(condor, cluster, 3)
    assert "the test is over" in (rest[0].remove_reason or "")


def test_counts_of_many_clusters_are_told_apart(condor: PoolProcess) -> None:
    tag = new_tag()
    clusters = [submit(tag, "true", jobs=2, hold="true") for _ in range(10)]
    foreign = submit(new_tag(), "true", hold="true")
    counts = condor.counts(AP1, dict.fromkeys(clusters, 2), now=time.time())
    assert set(counts) == set(clusters)
    assert {count.held for count in counts.values()} == {2}
    condor.remove(AP1, [*clusters, foreign], reason="the test is over")
    until(lambda: all(c.removed == 2 for c in condor.counts(AP1, dict.fromkeys(clusters, 2), now=0).values()))


def test_jobs_that_never_started_are_counted_by_the_schedd(
    condor: PoolProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    from include.batch.condor import CondorPool
    from include.batch.condor_queue import ask_queue

    here, tag = CondorPool(), new_tag()
    many = submit(tag, "true", jobs=10, requirements="false")
    some = submit(tag, "exec sleep 600", jobs=4, hold="true")
    act("Release", f"ClusterId == {some} && ProcId < 3")

    def look() -> tuple[ClusterCounts, ClusterCounts]:
        found = here.counts(AP1, {Awaited(many, tag): 10, Awaited(some, tag): 4}, now=time.time())
        never, ever = (
            replace(each, held_longest_s=0, held_shortest_s=0)
            for each in (found[Awaited(many, tag)], found[Awaited(some, tag)])
        )
        return never, ever

    until(lambda: look()[1].running == 3)
    # One that has started is held, and one that never has is removed.
    act("Hold", f"ClusterId == {some} && ProcId == 2")
    until(lambda: look()[1].held == 2)
    act("Remove", f"ClusterId == {many} && ProcId == 7")
    until(lambda: look()[0].removed == 1)
    plain = look()
    for module in ("condor", "condor_queue"):
        monkeypatch.setattr(f"include.batch.{module}.FEW_JOBS", 0)
    assert look() == plain
    assert (plain[0].idle, plain[0].removed, plain[1].running, plain[1].held) == (9, 1, 2, 2)
    queued = ask_queue([Awaited(many, tag)], 10, partial(here._query, AP1))[Awaited(many, tag)]
    assert (queued.fresh, queued.rows) == (9, [])
    (tagged,) = [each for each in here.tagged(AP1) if each.id.cluster == many]
    assert (tagged.idle, tagged.running, tagged.held) == (9, 0, 0)
    condor.remove(AP1, [many, some], reason="the test is over")


def test_jobs_nobody_knows_are_unknown(condor: PoolProcess) -> None:
    counts = condor.counts(AP1, {999_999_999: 5}, now=time.time())[999_999_999]
    assert (counts.total, counts.unknown, counts.ended) == (5, 5, 0)
    assert condor.ads(AP1, [999_999_999]) == []


def test_tag_is_found_in_queue_and_in_history(condor: PoolProcess) -> None:
    tag, before = new_tag(), time.time()
    assert condor.find_tag(tag) == ()
    cluster = submit(tag, "true", hold="true")
    found = (ClusterId(schedd=AP1, cluster=cluster),)
    assert condor.find_tag(tag) == found
    act("Release", f"ClusterId == {cluster}")
    ended(condor, cluster, 1)
    assert condor.find_tag(tag) == found
    assert condor.find_tag(tag, since=before) == found
    assert condor.find_tag(tag.lower()) == (), "tags differ by case"
    assert condor.find_tag(tag[:-1]) == ()


async def _wait(watcher: ScheddWatcher, cluster: int, jobs: int, **limits: float) -> Any:
    async with asyncio.timeout(90):
        return await watcher.wait_for(
            cluster, jobs, **{"hold_limit_s": 600, "unknown_limit_s": 600, **limits}
        )


def test_waits_end_for_completed_held_removed_and_unknown(condor: PoolProcess) -> None:
    completed = submit(new_tag(), "exit 1", jobs=3)
    held = submit(new_tag(), "true", jobs=2, hold="true")
    removed = submit(new_tag(), "true", hold="true")

    async def scenario() -> list[Any]:
        watcher = ScheddWatcher(AP1, condor, 0.3)
        waits = [
            asyncio.create_task(_wait(watcher, completed, 3)),
            asyncio.create_task(_wait(watcher, held, 2, hold_limit_s=2)),
            asyncio.create_task(_wait(watcher, removed, 1)),
            asyncio.create_task(_wait(watcher, 999_999_999, 1, unknown_limit_s=2)),
        ]
        await asyncio.wait([waits[1], waits[3]], timeout=60)
        assert not waits[2].done()
        await asyncio.to_thread(act, "Remove", f"ClusterId == {removed}")
        return list(await asyncio.gather(*waits))

    one, two, three, four = asyncio.run(scenario())
    assert one.completed == 3
    assert (two.held, two.held_shortest_s >= 2) == (2, True)
    assert three.removed == 1
    assert four.unknown == 1
    condor.remove(AP1, [held], reason="the test is over")


def test_excluded_nodes_get_no_job_of_a_submission(
    condor: PoolProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(tmp_path / "submissions"))
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")
    (tmp_path / "job.sh").chmod(0o755)

    def send(**changes: Any) -> int:
        tag = new_tag()
        intent = _intent(tag, tmp_path / tag.replace("/", "_"))
        request = _request(tag, tmp_path / "job.sh", **changes)
        return _once(condor, FakeLedger(intent), request, intent).clusters[0][1]

    options = ("-c", "TARGET.Cpus > 0 || false", "--append_condor_requirements=TARGET.Machine isnt undefined")
    kept = send(jobs=3, excluded_machines=("wn1.pool", "WN2.pool"), options=options)
    nowhere = send(excluded_sites=("Embedded",))
    assert {ad.machine for ad in ended(condor, kept, 3)} == {"wn3.pool"}
    assert condor.counts(AP1, {nowhere: 2}, now=time.time())[nowhere].idle == 2
    # The list is replaced while they wait, and they run.
    assert condor.exclude(AP1, [nowhere], machines=["wn3.pool"], sites=[]) == 2
    assert "wn3.pool" not in {ad.machine for ad in ended(condor, nowhere, 2)}


def _request(tag: str, executable: Path, **changes: Any) -> SubmitRequest:
    plain: dict[str, Any] = {
        "executable": str(executable),
        "arguments": ("run", "job.json"),
        "jobs": 2,
        "group": "demo",
        "role": None,
        "tag": tag,
        "memory_mb": 10,
        "disk_kb": 1000,
        "cpus": 1,
        "lifetime_s": 600,
        "files": (),
        "environment": (),
        "options": (),
    }
    return SubmitRequest(**plain | changes)


def _once(
    condor: PoolProcess, ledger: FakeLedger, request: SubmitRequest, submission: Submission
) -> Submission:
    return submit_once(
        ledger_port=ledger,
        pool=condor,
        submitter=JobsubSubmitter(),
        request=request,
        submission=submission,
        clock=Clock(),
        limits=SubmitLimits(timeout_s=60, grace_s=2, search_every_s=0.5),
    )


def _intent(tag: str, work_dir: Path) -> Submission:
    return Submission(
        tag=tag,
        dag_id="demo.Z",
        tranche="t",
        run=1000,
        stage="gen",
        recovery=0,
        state=SubmissionState.INTENDED,
        units=tuple(Unit(process=n, first_subrun=n, last_subrun=n, inputs=()) for n in range(2)),
        clusters=(),
        work_dir=str(work_dir),
        message="",
        intended_at=time.time(),
        submitted_at=None,
    )


def test_submits_once_through_jobsub(
    condor: PoolProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(tmp_path / "submissions"))
    (folder / "job.sh").write_text('#!/bin/sh\ncat "$CONDOR_DIR_INPUT/job.json"; exit $PROCESS\n')
    (folder / "job.json").write_text("{}")
    tag = new_tag()
    request = _request(tag, folder / "job.sh", files=(str(folder / "job.json"),))
    row = _once(condor, FakeLedger(_intent(tag, tmp_path / "work")), request, _intent(tag, tmp_path / "work"))
    [(schedd, cluster, jobs)] = row.clusters
    assert jobs == 2
    assert condor.find_tag(tag) == (ClusterId(schedd=schedd, cluster=cluster),)
    assert [ad.exit_code for ad in ended(condor, cluster, 2)] == [0, 1]
    # A ledger that lost the answer, and even the work folder, adopts the jobs from history.
    again = _intent(tag, tmp_path / "other")
    assert _once(condor, FakeLedger(again), request, again).clusters == row.clusters
    assert len(condor.find_tag(tag)) == 1


def test_a_cluster_with_another_number_of_jobs_is_not_adopted(condor: PoolProcess, tmp_path: Path) -> None:
    tag = new_tag()
    cluster = submit(tag, "true", jobs=3)
    ended(condor, cluster, 3)
    intent = _intent(tag, tmp_path / "work")
    ledger = FakeLedger(intent)
    with pytest.raises(LedgerError, match=rf"2 jobs were to be submitted[^@]*{cluster}@"):
        _once(condor, ledger, _request(tag, tmp_path / "job.sh"), intent)
    assert ledger.rows[tag].state is SubmissionState.INTENDED
    assert len(condor.find_tag(tag)) == 1


def test_a_misspelt_option_is_refused(
    condor: PoolProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSUB_STANDIN_DIR", str(tmp_path / "submissions"))
    (tmp_path / "job.sh").write_text("#!/bin/sh\n")
    tag = new_tag()
    intent = _intent(tag, tmp_path / "work")
    ledger = FakeLedger(intent)
    with pytest.raises(SubmissionRefused, match=r"--memmory"):
        _once(condor, ledger, _request(tag, tmp_path / "job.sh", options=("--memmory=5",)), intent)
    assert ledger.rows[tag].state is SubmissionState.REFUSED


@pytest.fixture
def two_schedds(
    pool: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PersonalPool]:
    """A pool of its own with ap1 and ap2; only the helper processes of this test see it."""
    settings = PoolSettings(
        state=tmp_path / "two",
        binaries=pool.settings.binaries,
        port=0,
        nodes=(Node(name="wn1", cpus=1),),
        schedds=("ap1", "ap2"),
    )
    started = PersonalPool(settings)
    started.start()
    try:
        monkeypatch.setenv("CONDOR_CONFIG", str(started.config))
        yield started
    finally:
        started.stop()


def _schedd_pids(name: str, config: Path) -> list[int]:
    """Return the processes of one schedd of the pool with this configuration."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (folder / "cmdline").read_bytes().split(b"\0")
            environment = (folder / "environ").read_bytes().split(b"\0")
            mine = f"CONDOR_CONFIG={config}".encode() in environment
            if mine and b"schedd" in command[0] and name.encode() in command:
                found.append(int(folder.name))
    return found


def test_a_silent_schedd_is_an_error_and_never_an_empty_answer(
    two_schedds: PersonalPool, tmp_path: Path
) -> None:
    with PoolProcess(CONDOR, timeout_s=3) as condor, PoolProcess(CONDOR, timeout_s=60) as patient:
        assert patient.schedds() == ("ap1.pool", "ap2.pool")
        assert patient.find_tag("t") == ()
        pids = _schedd_pids("ap2", two_schedds.config)
        assert pids
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            for call in (
                lambda: condor.find_tag("t"),
                lambda: condor.counts("ap2.pool", {1: 1}, now=0),
                lambda: condor.ads("ap2.pool", [1]),
                lambda: condor.remove("ap2.pool", [1], reason="test"),
            ):
                with pytest.raises(ScheddUnreachable, match=r"ap2\.pool did not answer within 3 s"):
                    call()
            assert patient.counts("ap1.pool", {1: 1}, now=0)[1].unknown == 1, "the other schedd answers"
            intent = _intent("t", tmp_path / "work")
            with pytest.raises(SubmissionAmbiguous, match=r"nothing is submitted.*ap2\.pool"):
                _once(condor, FakeLedger(intent), _request("t", Path("/bin/true")), intent)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        assert patient.find_tag("t") == ()
        with pytest.raises(ScheddUnlisted, match=r"lists no schedd ap3\.pool"):
            patient.counts("ap3.pool", {1: 1}, now=0)
    two_schedds.stop()
    with PoolProcess(CONDOR, timeout_s=30) as condor:
        for call in (condor.schedds, lambda: condor.find_tag("t"), lambda: condor.counts(AP1, {1: 1}, now=0)):
            with pytest.raises(ScheddUnreachable, match=r"the collector 127\.0\.0\.1"):
                call()


def test_a_wait_goes_on_after_the_pool_moved_to_another_port(two_schedds: PersonalPool) -> None:
    async def scenario() -> Any:
        with PoolProcess(CONDOR, timeout_s=30) as condor:
            assert condor.schedds() == ("ap1.pool", "ap2.pool")
            before = two_schedds.status().port
            assert before is not None
            two_schedds.stop()
            with socket.create_server(("127.0.0.1", before)):
                two_schedds.start()
            assert two_schedds.status().port != before
            watcher = ScheddWatcher(AP1, condor, 0.2, close=condor.close)
            return await _wait(watcher, 999_999_999, 1, unknown_limit_s=0)

    assert asyncio.run(scenario()).unknown == 1


def test_a_required_schedd_must_be_listed(pool: PersonalPool) -> None:
    with (
        PoolProcess(CONDOR, {"required": [AP1, "ap9.pool"]}, timeout_s=30) as condor,
        pytest.raises(ScheddUnreachable, match=r"does not list ap9\.pool"),
    ):
        condor.find_tag("t")
