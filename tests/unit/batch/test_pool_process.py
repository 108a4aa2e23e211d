"""The helper process: answers, errors, a hang, a death."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FACTORY, FakePool
from include.batch.pool_process import PoolProcess
from include.campaign.states import JobStatus
from include.errors import PoolError, ScheddUnreachable

if TYPE_CHECKING:
    from pathlib import Path

AP1 = "ap1@fake"


def make(tmp_path: Path, timeout_s: float = 20) -> tuple[FakePool, PoolProcess]:
    path = str(tmp_path / "pool.json")
    return FakePool(path), PoolProcess(FACTORY, {"path": path}, timeout_s=timeout_s)


def test_every_method_answers_as_the_pool_itself(tmp_path: Path) -> None:
    fake, process = make(tmp_path)
    cluster = fake.submit(AP1, "t", 3)
    with process as pool:
        assert pool.schedds() == fake.schedds()
        assert pool.find_tag("t", since=1.0) == fake.find_tag("t")
        assert pool.find_tag("other") == ()
        assert pool.history_reach(AP1, before=1.0) == fake.history_reach(AP1, before=1.0)
        assert pool.counts(AP1, {cluster: 3}, now=1.0) == fake.counts(AP1, {cluster: 3}, now=1.0)
        assert pool.ads(AP1, [cluster]) == fake.ads(AP1, [cluster])
        fake.set_status(AP1, cluster, JobStatus.HELD, processes=[1, 2])
        assert pool.exclude(AP1, [cluster], machines=["b", "a"], sites=("S",)) == 3
        assert pool.exclude(AP1, [cluster], machines={"a", "b"}, sites=["S"]) == 0
        assert pool.release_jobs(AP1, {(cluster, 1), (cluster, 0)}, reason="r", memory_mb=700) == 1
        assert pool.remove_jobs(AP1, [(cluster, 2), (99, 0)], reason="r") == 1
        assert pool.remove_jobs(AP1, [(cluster, 1)], reason="it is held no more") == 0
        ads = pool.ads(AP1, [cluster])
        assert [ad.requested_memory_mb for ad in ads] == [None, 700, None]
        assert [int(ad.status) for ad in ads] == [1, 1, 3]
        assert fake.excluded(AP1, cluster)[0] == (("a", "b"), ("S",))
        pool.remove(AP1, [cluster], reason="test")
    assert fake.counts(AP1, {cluster: 3}, now=1.0)[cluster].removed == 3


def test_unreachable_schedd_is_told_as_such(tmp_path: Path) -> None:
    fake, process = make(tmp_path)
    fake.set_schedd(AP1, up=False)
    with process as pool, pytest.raises(ScheddUnreachable, match=r"ap1@fake did not answer"):
        pool.counts(AP1, {1: 1}, now=0.0)


def test_hanging_schedd_is_given_up_and_the_next_call_works(tmp_path: Path) -> None:
    fake, process = make(tmp_path, timeout_s=3)
    fake.set_schedd(AP1, hangs=True)
    with process as pool:
        for call in (lambda: pool.find_tag("t"), lambda: pool.counts(AP1, {1: 1}, now=0.0)):
            with pytest.raises(ScheddUnreachable, match=r"ap1@fake did not answer within 3 s"):
                call()
        fake.set_schedd(AP1, hangs=False)
        assert pool.find_tag("t") == ()


def test_dead_helper_is_replaced(tmp_path: Path) -> None:
    _, process = make(tmp_path)
    with process as pool:
        pool.schedds()
        assert pool._child is not None
        os.kill(pool._child.pid, signal.SIGKILL)
        pool._child.wait()
        assert pool.schedds() == (AP1,)


def test_close_ends_a_call_in_another_thread(tmp_path: Path) -> None:
    fake, process = make(tmp_path, timeout_s=60)
    fake.set_schedd(AP1, hangs=True)
    errors: list[Exception] = []

    def ask() -> None:
        try:
            process.counts(AP1, {1: 1}, now=0.0)
        except ScheddUnreachable as error:
            errors.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    end = time.monotonic() + 20
    while "counts 1" not in fake.calls():
        assert time.monotonic() < end
    process.close()
    thread.join(10)
    assert len(errors) == 1


def test_pool_that_cannot_be_made(tmp_path: Path) -> None:
    with (
        PoolProcess("include.batch.fake:broken_pool") as pool,
        pytest.raises(PoolError, match=r"CONDOR_CONFIG names no file"),
    ):
        pool.schedds()


def test_a_machine_without_room_for_a_process_says_nothing_about_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, process = make(tmp_path)
    with process as pool:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", str(tmp_path / "none"))
            _, broken = make(tmp_path)
        with pytest.raises(ScheddUnreachable, match=r"schedds was not asked: .*could not be started"):
            broken.schedds()
        assert pool.schedds() == fake.schedds()


def test_defect_in_the_pool_crosses_as_an_error(tmp_path: Path) -> None:
    _, process = make(tmp_path)
    (tmp_path / "pool.json").write_text("{}")
    with process as pool, pytest.raises(PoolError, match=r"KeyError"):
        pool.schedds()


def test_helper_ends_with_its_parent(tmp_path: Path) -> None:
    _, process = make(tmp_path)
    process.schedds()
    child = process._child
    assert child is not None
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(10) == 0
    process.close()


def test_big_answers(tmp_path: Path) -> None:
    fake, process = make(tmp_path)
    cluster = fake.submit(AP1, "t", 5000, status=JobStatus.COMPLETED)
    with process as pool:
        assert len(pool.ads(AP1, [cluster])) == 5000
