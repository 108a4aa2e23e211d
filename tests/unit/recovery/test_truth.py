"""What ledger, pool and storage see differently, and for how long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.records import UnitState
from include.campaign.naming import area_of
from include.campaign.states import ActionKind, JobStatus, SubrunState
from include.data.storage import PosixStorage
from include.recovery import truth
from include.recovery.truth import Topic, compare
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.recovery.truth import Comparison

SCHEDD = "ap1@fake"
LIMIT_S = 900.0
LATER = NOW + 10_000


@pytest.fixture
def pool(tmp_path: Path) -> FakePool:
    return FakePool(str(tmp_path / "pool.json"), (SCHEDD,))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A reserved slice whose outstage is in the test's folder."""

    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as opened:
        opened.upgrade()
        plan = replace(records.campaign_plan(), outstage=str(tmp_path / "out"))
        opened.reserve(plan, tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
        yield opened


def send(ledger: Ledger, pool: FakePool, stage: str = "gen") -> str:
    tag = records.intend(ledger, stage)
    cluster = pool.submit(SCHEDD, tag, 4)
    ledger.record_submitted(tag, clusters=[(SCHEDD, cluster, 4)], message="", now=NOW + 1)
    return tag


def finish(ledger: Ledger, pool: FakePool, tag: str) -> None:
    """Let all four jobs end and be judged."""
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED)
    ledger.record_progress([records.sample(tag, NOW + 50, completed=4)])
    states = [UnitState(process=n, state=SubrunState.MISSING, held=False) for n in range(4)]
    ledger.settle(tag, verdicts=[], accept=[], reject=[], states=states, now=NOW + 60)
    ledger.record_ended(tag, now=NOW + 60)


def look(ledger: Ledger, pool: FakePool, *, now: float = LATER, limit_s: float = LIMIT_S) -> Comparison:
    return compare(ledger, pool, PosixStorage(), now=now, limit_s=limit_s)


def topics(ledger: Ledger, pool: FakePool, *, now: float = LATER) -> list[Topic]:
    return [each.topic for each in look(ledger, pool, now=now).disagreements]


def test_nothing_is_said_where_all_agree(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    ledger.record_progress([records.sample(tag, LATER - 5, idle=4)])
    assert topics(ledger, pool) == []
    finish(ledger, pool, tag)
    assert topics(ledger, pool) == []


def test_counts_that_nobody_brings_up_to_date_are_told_with_both_figures(
    ledger: Ledger, pool: FakePool
) -> None:
    tag = send(ledger, pool)
    ledger.record_progress([records.sample(tag, NOW + 100, running=4)])
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED, processes=[0, 1, 2])
    (found,) = look(ledger, pool).disagreements
    assert (found.topic, found.tag, found.since) == (Topic.COUNTS, tag, NOW + 100)
    assert (
        "the ledger says 4 of 4 jobs in the queue at 2027-01-15 08:01 UTC, the queue has 1 now" in found.text
    )
    assert "clear its wait task" in found.text
    assert topics(ledger, pool, now=NOW + 100 + LIMIT_S) == [], "not longer than the limit"
    assert topics(ledger, pool, now=NOW + 101 + LIMIT_S) == [Topic.COUNTS]


def test_a_submission_that_was_never_polled_counts_from_when_it_was_sent(
    ledger: Ledger, pool: FakePool
) -> None:
    send(ledger, pool)
    assert topics(ledger, pool) == []
    pool.set_status(SCHEDD, 1, JobStatus.REMOVED)
    assert [(each.topic, each.since) for each in look(ledger, pool).disagreements] == [
        (Topic.COUNTS, NOW + 1)
    ]


def test_a_cluster_that_was_removed_on_purpose_is_not_missed(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    pool.set_status(SCHEDD, 1, JobStatus.REMOVED)
    assert topics(ledger, pool) == [Topic.COUNTS]
    ledger.record_action(records.action(ActionKind.REMOVE, NOW + 9, tag=tag, jobs=(f"1.0@{SCHEDD}",)))
    assert topics(ledger, pool) == [Topic.COUNTS], "one job of it"
    ledger.record_action(records.action(ActionKind.REMOVE, NOW + 9, tag=tag, jobs=(f"1@{SCHEDD}",)))
    assert topics(ledger, pool) == []


@pytest.mark.parametrize(("second", "left"), [(True, []), (False, [Topic.COUNTS])])
def test_the_removal_of_one_cluster_says_nothing_of_another(
    ledger: Ledger, pool: FakePool, second: bool, left: list[Topic]
) -> None:
    tag = records.intend(ledger, "gen")
    numbers = [pool.submit(SCHEDD, tag, 2) for _ in range(2)]
    clusters = [(SCHEDD, number, 2) for number in numbers]
    ledger.record_submitted(tag, clusters=clusters, message="", now=NOW + 1, first_units=[0, 2])
    for number in numbers:
        pool.set_status(SCHEDD, number, JobStatus.REMOVED)
    for number in numbers[: 2 if second else 1]:
        named = (f"{number}@{SCHEDD.rpartition('@')[2]}",)  # by the schedd's machine
        ledger.record_action(records.action(ActionKind.REMOVE, NOW + 9, tag=tag, jobs=named))
    assert topics(ledger, pool) == left


def test_a_removal_that_was_denied_silences_nothing(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    pool.set_status(SCHEDD, 1, JobStatus.REMOVED, processes=[0])
    ledger.record_action(records.action(ActionKind.REMOVE, NOW + 9, tag=tag, jobs=(f"1@{SCHEDD}",)))
    assert topics(ledger, pool) == [Topic.COUNTS]


def test_a_second_cluster_is_told_while_the_first_is_waited_for(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    ledger.record_progress([records.sample(tag, LATER - 5, idle=4)])
    pool.submit(SCHEDD, tag, 4)
    pool.set_status(SCHEDD, 2, JobStatus.RUNNING, since=NOW + 50)
    (found,) = look(ledger, pool).disagreements
    assert (found.topic, found.tag) == (Topic.QUEUE, tag)
    assert f"its clusters are 1@{SCHEDD}, the queue has 4 jobs of cluster 2@{SCHEDD}" in found.text
    assert f"`prodsys orphans 2@{SCHEDD} --remove` ends it" in found.text


def test_jobs_of_what_the_ledger_calls_ended_are_told(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    finish(ledger, pool, tag)
    pool.set_status(SCHEDD, 1, JobStatus.RUNNING, processes=[2], since=NOW)
    (found,) = look(ledger, pool).disagreements
    assert found.topic is Topic.QUEUE
    assert f"the queue has 1 of its jobs: 1@{SCHEDD}" in found.text


def test_unknown_jobs_are_told_from_when_they_became_unknown(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    pool.set_status(SCHEDD, 1, JobStatus.UNKNOWN)
    for at in (NOW + 10, NOW + 20):
        ledger.record_progress([records.sample(tag, at, running=4)])
    for at in (NOW + 30, NOW + 40, LATER - 1):
        ledger.record_progress([records.sample(tag, at, unknown=4)])
    (found,) = look(ledger, pool).disagreements
    assert (found.topic, found.since) == (Topic.UNKNOWN, NOW + 30)
    assert "put to a person by the recover task under Required Actions" in found.text
    assert "'Recover again' makes them anew" in found.text


def test_ended_jobs_that_nobody_judges_are_told(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED)
    ledger.record_progress([records.sample(tag, NOW + 30, completed=4)])
    (found,) = look(ledger, pool).disagreements
    assert (found.topic, found.since) == (Topic.JUDGED, NOW + 30)
    assert "4 of its processes are not judged" in found.text


def test_a_silent_schedd_is_told_and_proves_nothing(ledger: Ledger, pool: FakePool) -> None:
    tag = send(ledger, pool)
    ledger.record_progress([records.sample(tag, NOW + 30, running=4)])
    pool.set_schedd(SCHEDD, up=False)
    comparison = look(ledger, pool)
    assert [each.topic for each in comparison.disagreements] == [Topic.SILENT]
    assert comparison.no_answer[0].startswith(f"{SCHEDD} gives no answer")


def test_an_intent_without_an_end_is_told(ledger: Ledger, pool: FakePool) -> None:
    tag = records.intend(ledger, "gen")
    assert topics(ledger, pool) == [Topic.INTENT]
    pool.submit(SCHEDD, tag, 4)
    pool.set_status(SCHEDD, 1, JobStatus.IDLE, since=NOW + 5)
    assert topics(ledger, pool) == [Topic.QUEUE]


def publish(ledger: Ledger, pool: FakePool, tmp_path: Path) -> Path:
    """Accept one output of gen that is in the storage; return its file."""

    tag = send(ledger, pool)
    output = records.output("gen", 0)
    folder = tmp_path / "out" / area_of("", stage="gen", run=1000, tag=tag).lstrip("/") / output.execution
    folder.mkdir(parents=True)
    file = folder / "default.root"
    file.write_bytes(b"x" * output.size)
    pool.set_status(SCHEDD, 1, JobStatus.COMPLETED)
    ledger.record_progress([records.sample(tag, NOW + 50, completed=4)])
    output = replace(output, path=str(file))
    ledger.record_outputs(tag, [output], now=NOW + 60)
    states = [UnitState(process=n, state=SubrunState.MISSING, held=False) for n in range(1, 4)]
    states.append(UnitState(process=0, state=SubrunState.ACCEPTED, held=False))
    key = (output.execution, output.name)
    ledger.settle(tag, verdicts=[], accept=[key], reject=[], states=states, now=NOW + 60)
    ledger.record_ended(tag, now=NOW + 60)
    return file


def test_an_accepted_file_that_is_gone_or_was_cut_is_told(
    ledger: Ledger, pool: FakePool, tmp_path: Path
) -> None:
    file = publish(ledger, pool, tmp_path)
    comparison = look(ledger, pool)
    assert (comparison.disagreements, comparison.files, comparison.accepted) == ((), 1, 1)
    other = compare(ledger, pool, PosixStorage(), dag_id="demo.other", now=LATER, limit_s=LIMIT_S)
    assert (other.submissions, other.files, other.accepted) == (0, 0, 0)
    file.write_bytes(b"short")
    (found,) = look(ledger, pool).disagreements
    assert (found.topic, str(file) in found.text) == (Topic.LOST, True)
    file.unlink()
    assert topics(ledger, pool) == [Topic.LOST]


def test_how_many_files_were_not_looked_at_is_said(
    ledger: Ledger, pool: FakePool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(ledger, pool, tmp_path)
    monkeypatch.setattr(truth, "MOST_FILES", 0)
    comparison = look(ledger, pool)
    assert (comparison.files, comparison.accepted) == (0, 1)


def test_an_output_that_came_after_the_check_is_told(ledger: Ledger, pool: FakePool, tmp_path: Path) -> None:
    file = publish(ledger, pool, tmp_path)
    (file.parent.parent / "9.1.1-00000001").mkdir()
    (file.parent.parent / ".9.2.1-00000002.part").mkdir()
    (found,) = look(ledger, pool, now=LATER).disagreements
    assert found.topic is Topic.STRAY
    assert "outputs of 1 executions, the storage has 1 more: 9.1.1-00000001" in found.text


def test_what_has_not_changed_for_a_week_is_left_alone(ledger: Ledger, pool: FakePool) -> None:
    records.intend(ledger, "gen")
    assert look(ledger, pool, now=NOW + truth.LOOK_BACK_S + 1).submissions == 0


def test_what_waits_for_room_is_no_disagreement(ledger: Ledger, pool: FakePool) -> None:
    from include.bookkeeping.admission import DeploymentLimits
    from include.bookkeeping.ledger_admission import AdmissionRequest

    limits = DeploymentLimits(jobs_per_experiment=4, jobs_per_schedd=None, schedds=1)
    tags = [send(ledger, pool), records.intend(ledger, "reco")]
    ledger.record_progress([records.sample(tags[0], LATER - 5, idle=4)])
    for number, tag in enumerate(tags):
        request = AdmissionRequest(tag=tag, stage_number=number, jobs_limit=None, slices_limit=None)
        waits = ledger.ask(request, limits=limits, now=NOW + 2)
    assert waits is not None
    assert topics(ledger, pool) == [Topic.INTENT], "it has not asked for a long time"
    ledger.ask_again([tags[1]], limits=limits, now=LATER - 60)
    assert topics(ledger, pool) == []
    # It has just got room, and is being sent.
    finish(ledger, pool, tags[0])
    assert ledger.ask_again([tags[1]], limits=limits, now=LATER - 30) == {tags[1]: None}
    assert topics(ledger, pool) == []
    assert topics(ledger, pool, now=LATER + LIMIT_S) == [Topic.INTENT]
