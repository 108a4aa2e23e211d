"""What is done about jobs of a submission in several clusters: held ones, removal, exclusion, agreement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.batch.fake import FakePool
from include.bookkeeping.ledger import Ledger
from include.campaign.states import JobStatus
from include.data.storage import PosixStorage
from include.recovery.holds import _failure, handle_holds, remove_all_held
from include.recovery.orphans import AirflowRun, find_orphans
from include.recovery.review import Tools, ads_of
from include.recovery.truth import compare
from include.triage.classify import Triage
from tests import ledger_records as records
from tests.ledger_records import NOW, TRANCHE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AP1, AP2 = "ap1@fake", "ap2@fake"


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    """A slice whose gen is sent as two jobs on one schedd and two on the other, each as cluster 1."""
    pool = FakePool(str(tmp_path / "pool.json"), (AP1, AP2))
    with Ledger(f"sqlite:///{tmp_path}/ledger.db") as ledger:
        ledger.upgrade()
        ledger.reserve(records.campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=1, now=NOW)
        tag = records.intend(ledger, "gen")
        for schedd, first in ((AP1, 0), (AP2, 2)):
            pool.submit(schedd, tag, 2, first_unit=first)
        ledger.record_submitted(
            tag, clusters=[(AP2, 1, 2), (AP1, 1, 2)], message="", now=NOW + 1, first_units=[2, 0]
        )
        yield Tools(ledger=ledger, pool=pool, triage=Triage.load(), clock=lambda: NOW + 1000)


def test_held_jobs_of_each_cluster_are_named_by_their_own_subrun(tools: Tools) -> None:
    submission = tools.ledger.submission(records.tag_of("gen"))
    assert submission is not None
    stage = tools.ledger.plan_of(submission.dag_id, TRANCHE).stage("gen")
    for schedd in (AP1, AP2):
        tools.pool.set_status(schedd, 1, JobStatus.HELD, processes=[1], since=NOW)  # type: ignore[attr-defined]
    held = [ad for ad in ads_of(tools.pool, submission) if ad.status is JobStatus.HELD]
    assert sorted(_failure(stage, submission, ad).first_subrun for ad in held) == [1, 3]
    handled = handle_holds(tools, stage, submission)
    assert handled.released + handled.removed + handled.left == 2
    assert dict(handled.left_by) == ({f"1@{AP1}": 1, f"1@{AP2}": 1} if handled.left else {})
    assert remove_all_held(tools, stage, submission, who="me", decided_at=float(2**40)) == handled.left


def disagree(tools: Tools) -> list[str]:
    """Return what the pool says otherwise than the ledger."""
    found = compare(tools.ledger, tools.pool, PosixStorage(), now=NOW + 9000, limit_s=900.0)
    assert found.submissions == 1
    return [each.other for each in found.disagreements]


class Runs:
    """An Airflow that waits for the stage."""

    def dag_run(self, dag_id: str, run_id: str, *, tranche: str) -> AirflowRun:
        assert (dag_id, tranche) == ("demo.z", TRANCHE)
        assert run_id
        return AirflowRun(state="running", tasks={("slice.gen.wait", 0): "deferred"})


def test_no_cluster_is_an_orphan_or_a_disagreement_while_it_is_waited_for(tools: Tools) -> None:
    listed = [each for schedd in (AP1, AP2) for each in tools.pool.tagged(schedd)]
    assert len(listed) == 2
    assert find_orphans(tools.ledger, listed, Runs()) == ()
    for idle in (None, 4):
        if idle is not None:
            tools.ledger.record_progress([records.sample(records.tag_of("gen"), NOW + 2, idle=idle)])
        assert disagree(tools) == []
    tools.pool.remove(AP2, [1], reason="by hand")
    assert disagree(tools) == ["the queue has 2 now"]
