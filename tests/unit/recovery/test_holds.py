"""Held jobs: each class of hold has its act, done after its pause, bounded, and in the ledger first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.campaign.states import ActionKind, JobStatus
from include.errors import JobsUnreachable, PoolError, ScheddUnreachable
from include.recovery.holds import Handled, handle_holds, remove_all_held
from include.recovery.review import Tools
from include.triage.classify import Triage
from tests import ledger_records as records
from tests.unit.recovery.records import stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.campaign.plan import StagePlan

SCHEDD = "ap1@fake"
OTHER = "ap2@fake"
NOW = 1_000_000.0
MEMORY = {"hold_code": 34, "hold_subcode": 102, "hold_reason": "memory usage exceeded request_memory"}
TIME = {"hold_code": 47, "hold_subcode": 0, "hold_reason": "The job exceeded allowed execute duration"}
INPUT = {"hold_code": 13, "hold_subcode": 256, "hold_reason": "Error from slot1@wn1: Transfer input failed"}
NODE = {"hold_code": 6, "hold_subcode": 2, "hold_reason": "Failed to execute: No such file or directory"}
PERSON = {"hold_code": 1, "hold_subcode": 0, "hold_reason": "via condor_hold (by user ann)"}
STRANGE = {"hold_code": 999, "hold_subcode": 0, "hold_reason": "nobody has seen this"}


@dataclass
class Held:
    """Six jobs of one submission, and what is done about those that are held."""

    tools: Tools
    pool: FakePool
    ledger: Ledger
    tag: str
    cluster: int
    now: float = NOW

    def hold(self, process: int, ad: dict[str, Any], *, for_s: float = 3600.0) -> None:
        """Hold a job since so long."""
        self.pool.set_status(
            SCHEDD, self.cluster, JobStatus.HELD, processes=[process], since=self.now - for_s
        )
        self.pool.change_ads(SCHEDD, self.cluster, processes=[process], **ad)

    def handle(self, plan: StagePlan | None = None) -> Handled:
        """Look once."""
        submission = self.ledger.submission(self.tag)
        assert submission is not None
        return handle_holds(self.tools, plan or stage(), submission)

    def status(self, process: int) -> JobStatus:
        """Return how a job stands."""
        return self.ad(process).status

    def ad(self, process: int) -> Any:
        """Return a job's ad."""
        return self.pool.ads(SCHEDD, [self.cluster])[process]


@pytest.fixture(scope="module")
def triage() -> Triage:
    """The installed rules."""
    return Triage.load()


@pytest.fixture
def held(tmp_path: Path, triage: Triage) -> Iterator[Held]:
    """A submission of six jobs that wait."""
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        ledger.reserve(
            records.campaign_plan(subruns=6), tranche=records.TRANCHE, dag_run_id="r", slices=1, now=1.0
        )
        tag = records.intend(ledger, "gen", ranges=[(n, n) for n in range(6)])
        pool = FakePool(str(tmp_path / "pool.json"), (SCHEDD,))
        cluster = pool.submit(SCHEDD, tag, 6)
        ledger.record_submitted(tag, clusters=((SCHEDD, cluster, 6),), message="", now=2.0)
        tools = Tools(ledger=ledger, pool=pool, triage=triage, clock=lambda: NOW)
        yield Held(tools=tools, pool=pool, ledger=ledger, tag=tag, cluster=cluster)


def test_each_class_has_its_act(held: Held) -> None:
    for process, ad in enumerate((MEMORY, TIME, INPUT, NODE, PERSON, STRANGE)):
        held.hold(process, ad)
    handled = held.handle()
    assert (handled.released, handled.removed, handled.left, handled.again_s) == (3, 1, 2, ())
    assert [held.status(process) for process in range(6)] == [
        JobStatus.IDLE, JobStatus.REMOVED, JobStatus.IDLE, JobStatus.IDLE, JobStatus.HELD, JobStatus.HELD,
    ]  # fmt: skip
    acts = [(act.kind, act.jobs[0].partition("@")[0], act.detail) for act in held.ledger.actions()]
    kinds = {job.partition(".")[2]: kind for kind, job, _ in acts}
    assert kinds == {"1": ActionKind.REMOVE, **dict.fromkeys("023", ActionKind.RELEASE)}
    # Each class is told by its own cause, in the ledger and to HTCondor.
    assert len({detail for _, _, detail in acts}) == 4
    assert any("release a held job with 1500 MB: HTCondor held it for memory" in each[2] for each in acts)
    assert any(f"(HoldReasonCode=34/102 of {held.cluster}.0@{SCHEDD}: memory" in each[2] for each in acts)
    told = " ".join(handled.lines)
    assert "left for a person" in told
    assert "to do: " in told


def test_a_pause_is_waited_for(held: Held) -> None:
    held.hold(0, INPUT, for_s=100)
    held.hold(1, NODE, for_s=100)
    handled = held.handle()
    assert (handled.released, handled.left) == (0, 2)
    assert handled.again_s == ((f"{held.cluster}@{SCHEDD}", 200.0),)
    assert held.ledger.actions() == []
    assert "released after the pause" in " ".join(handled.lines)


def test_memory_is_raised_within_the_cap_and_then_removed(held: Held) -> None:
    for have, expected in ((None, 1500), (1500, 2000), (2000, None)):
        held.hold(0, {**MEMORY, "requested_memory_mb": have}, for_s=3600 - (have or 0))
        handled = held.handle(stage(releases=9))
        if expected is None:
            assert held.status(0) is JobStatus.REMOVED
            assert "at the cap" in " ".join(handled.lines)
        else:
            assert (held.status(0), held.ad(0).requested_memory_mb) == (JobStatus.IDLE, expected)


def test_memory_covers_what_was_used_and_never_less(held: Held) -> None:
    held.hold(0, {**MEMORY, "memory_mb": 1700})
    held.hold(1, {**MEMORY, "memory_mb": 5000})
    held.handle(stage(max_memory_mb=4000))
    assert held.ad(0).requested_memory_mb == 2125
    assert held.status(1) is JobStatus.REMOVED, "what is known to be too little is not tried"


def test_releases_are_bounded_and_one_hold_counts_once(held: Held) -> None:
    for number in range(3):
        held.hold(0, INPUT, for_s=3600 - number)
        held.handle()
        if number < 2:
            assert held.status(0) is JobStatus.IDLE
            # A crash between the ledger and the schedd: the same hold is acted on once more.
            held.hold(0, INPUT, for_s=3600 - number)
            held.handle()
            assert held.status(0) is JobStatus.IDLE
            (times,) = held.ledger.releases(held.tag).values()
            assert len(times) == number + 1
    assert held.status(0) is JobStatus.REMOVED


def test_what_prodsys_removes_keeps_its_cause(held: Held) -> None:
    held.hold(0, TIME)
    held.handle()
    (call,) = [call for call in held.pool.calls() if call.startswith("remove_jobs")]
    assert "prodsys removed it, held: HTCondor held it for running longer" in call
    assert "[triage:held-time]" in call


def test_nobody_is_held_any_more(held: Held) -> None:
    assert held.handle().lines == ("no job is held any more",)


def test_a_silent_schedd_does_not_keep_held_jobs_of_another_waiting(tmp_path: Path, triage: Triage) -> None:
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        plan = records.campaign_plan(subruns=6)
        ledger.reserve(plan, tranche=records.TRANCHE, dag_run_id="r", slices=1, now=1.0)
        tag = records.intend(ledger, "gen", ranges=[(n, n) for n in range(6)])
        pool = FakePool(str(tmp_path / "pool.json"), (SCHEDD, OTHER))
        here, there = pool.submit(SCHEDD, tag, 3), pool.submit(OTHER, tag, 3)
        clusters = ((SCHEDD, here, 3), (OTHER, there, 3))
        ledger.record_submitted(tag, clusters=clusters, message="", now=2.0, first_units=(0, 3))
        tools = Tools(ledger=ledger, pool=pool, triage=triage, clock=lambda: NOW)
        for schedd, cluster in ((SCHEDD, here), (OTHER, there)):
            pool.set_status(schedd, cluster, JobStatus.HELD, since=NOW - 3600)
            pool.change_ads(schedd, cluster, **INPUT)
        pool.set_schedd(OTHER, up=False)
        submission = ledger.submission(tag)
        assert submission is not None
        handled = handle_holds(tools, stage(), submission)
        assert (handled.released, handled.left, handled.silent) == (3, 0, (f"{there}@{OTHER}",))
        assert handled.again_s == ((f"{there}@{OTHER}", 60.0),)
        assert handled.left_by == ((f"{there}@{OTHER}", 3),)
        assert OTHER in handled.lines[-1]
        assert "held jobs are looked at again when it answers" in handled.lines[-1]
        pool.set_schedd(SCHEDD, up=False)
        for looks, pause in ((0, 60.0), (2, 240.0), (5_000, 600.0)):
            handled = handle_holds(tools, stage(), submission, looks={f"{here}@{SCHEDD}": looks})
            assert handled.released == 0
            # Ever more rarely, each by its own looks.
            assert dict(handled.again_s) == {f"{here}@{SCHEDD}": pause, f"{there}@{OTHER}": 60.0}
        with pytest.raises(JobsUnreachable) as caught:
            remove_all_held(tools, stage(), submission, who="ann", decided_at=NOW)
        assert caught.value.tag == tag


def test_what_a_schedd_did_not_do_is_done_a_minute_later(held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    held.hold(0, INPUT)
    held.hold(1, TIME)

    def silent(*_: Any, **__: Any) -> int:
        raise ScheddUnreachable(f"{SCHEDD} did not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(held.pool, "release_jobs", silent)
        handled = held.handle()
    assert (handled.released, handled.removed, handled.left) == (0, 1, 1)
    assert handled.again_s == ((f"{held.cluster}@{SCHEDD}", 60.0),)
    assert handled.silent == (f"{held.cluster}@{SCHEDD}",)
    assert not any("released" in line for line in handled.lines)
    assert handled.left_by == ((f"{held.cluster}@{SCHEDD}", 1),)
    assert held.handle().released == 1


@pytest.mark.parametrize("tag", ["demo.Z/t9/001000/gen/recovery-0", None])
def test_jobs_that_have_the_number_now_are_left_alone(held: Held, tag: str | None) -> None:
    """The schedd lost its queue, and gave the cluster's number to another submission."""
    held.pool.lose_queue(SCHEDD)
    assert held.pool.submit(SCHEDD, tag, 6) == held.cluster
    held.hold(0, MEMORY)
    held.hold(1, TIME)
    before = [held.ad(process) for process in range(6)]
    submission = held.ledger.submission(held.tag)
    assert submission is not None
    assert held.handle().lines == ("no job is held any more",)
    assert remove_all_held(held.tools, stage(), submission, who="ann", decided_at=NOW) == 0
    assert [held.ad(process) for process in range(6)] == before
    assert held.ledger.actions() == []


def test_a_person_may_remove_all_that_is_held(held: Held) -> None:
    for process, ad in enumerate((PERSON, PERSON, STRANGE)):
        held.hold(process, ad, for_s=1)
    submission = held.ledger.submission(held.tag)
    assert submission is not None
    assert remove_all_held(held.tools, stage(), submission, who="ann", decided_at=NOW - 2) == 0
    assert remove_all_held(held.tools, stage(), submission, who="ann", decided_at=NOW) == 3
    acts = held.ledger.actions()
    assert {(act.kind, act.who) for act in acts} == {(ActionKind.REMOVE, "ann")}
    assert sorted(len(act.jobs) for act in acts) == [1, 2]


def lose_the_release(held: Held, patch: pytest.MonkeyPatch) -> None:
    """Let the schedd fall silent between the change of a job's memory and its release."""

    def lost(schedd: str, _jobs: object, *, reason: str, memory_mb: int | None = None) -> int:
        held.pool.change_ads(schedd, held.cluster, processes=[0], requested_memory_mb=memory_mb)
        raise ScheddUnreachable(f"{schedd} did not answer: {reason}")

    patch.setattr(held.pool, "release_jobs", lost)


def test_a_release_that_was_lost_raises_the_memory_once_and_counts_once(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.hold(0, MEMORY)
    for _ in range(3):
        with monkeypatch.context() as patch:
            lose_the_release(held, patch)
            assert held.handle(stage(releases=2)).silent
        assert held.ad(0).requested_memory_mb == 1500
    assert held.handle(stage(releases=2)).released == 1
    held.hold(0, {**MEMORY, "requested_memory_mb": 1500}, for_s=3000)
    assert held.handle(stage(releases=2)).released == 1, "the second of two"
    assert held.ad(0).requested_memory_mb == 2000


def test_a_release_that_was_lost_before_the_memory_was_raised_is_made_with_more(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.hold(0, {**MEMORY, "memory_mb": 990})

    def silent(*_: Any, **__: Any) -> int:
        raise ScheddUnreachable(f"{SCHEDD} did not answer.")

    with monkeypatch.context() as patch:
        patch.setattr(held.pool, "release_jobs", silent)
        assert held.handle().silent
    assert held.handle().released == 1
    assert held.ad(0).requested_memory_mb == 1500


def test_an_act_that_is_denied_keeps_no_other_from_being_done(
    held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    held.hold(0, MEMORY)
    held.hold(1, TIME)
    held.hold(2, INPUT)
    real = held.pool.release_jobs

    def denied(schedd: str, jobs: Any, *, reason: str, memory_mb: int | None = None) -> int:
        if memory_mb is not None:
            raise PoolError("RequestMemory was not set")
        return real(schedd, jobs, reason=reason)

    monkeypatch.setattr(held.pool, "release_jobs", denied)
    with pytest.raises(PoolError, match="RequestMemory"):
        held.handle()
    assert [held.status(process) for process in range(3)] == [
        JobStatus.HELD, JobStatus.REMOVED, JobStatus.IDLE,
    ]  # fmt: skip
