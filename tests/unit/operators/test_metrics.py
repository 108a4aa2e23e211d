"""What operators and triggers tell Airflow's metrics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from airflow.sdk.observability import stats

from include.batch.pool import Awaited
from include.campaign.states import SubrunState
from include.errors import SubmissionRefused
from prodsys_operators import metrics, watching
from prodsys_operators.settings import Settings
from prodsys_operators.submit import SubmitOperator
from tests.unit.operators.recovering import ITEM, SCHEDD, Submitter, context, judged, recover

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.batch.fake import FakePool
    from include.batch.pool import SubmitAnswer, SubmitRequest
    from prodsys_operators.scope import Scope

PAGE = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
GEN = {"dag_id": "unit.three", "stage": "gen"}
Told = list[tuple[str, float, dict[str, Any]]]


class Listener:
    """Airflow's StatsLogger that remembers: (name, value, tags)."""

    def __init__(self) -> None:
        self.told: Told = []

    def incr(
        self, stat: str, count: int = 1, _rate: float = 1, *, tags: dict[str, Any] | None = None
    ) -> None:
        self.told.append((stat, count, tags or {}))

    decr = incr

    def gauge(
        self, stat: str, value: float, _rate: float = 1, _delta: bool = False,
        *, tags: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.told.append((stat, value, tags or {}))

    def timing(self, stat: str, dt: float, *, tags: dict[str, Any] | None = None) -> None:
        self.told.append((stat, dt, tags or {}))


class Refusing(Submitter):
    """A batch system that says no."""

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:  # noqa: ARG002  the protocol
        raise SubmissionRefused(f"{request.tag}: no such group")


@pytest.fixture
def told() -> Iterator[Told]:
    listener = Listener()
    stats.initialize(factory=lambda: listener, export_legacy_names=False)  # type: ignore[arg-type, return-value]
    yield listener.told
    stats.initialize(factory=Listener, export_legacy_names=False)  # type: ignore[arg-type]


def submit() -> None:
    SubmitOperator(task_id="submit", stage="gen", slice_item=ITEM).execute(context())


def values(told: Told, name: metrics.Name) -> list[tuple[float, dict[str, Any]]]:
    return [(value, tags) for stat, value, tags in told if stat == name.value]


@pytest.mark.usefixtures("scope")
def test_a_submission_is_counted_once_however_often_its_task_runs(told: Told) -> None:
    submit()
    submit()
    assert values(told, metrics.Name.SUBMISSIONS) == [(1, GEN)]
    assert values(told, metrics.Name.JOBS_SUBMITTED) == [(3, GEN)]


@pytest.mark.usefixtures("scope")
def test_what_is_refused_is_counted_as_that(
    told: Told, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Settings, "open_submitter", lambda _self: Refusing(pool))
    with pytest.raises(AirflowFailException, match="no such group"):
        submit()
    assert values(told, metrics.Name.REFUSED) == [(1, GEN)]
    assert values(told, metrics.Name.SUBMISSIONS) == values(told, metrics.Name.AMBIGUOUS) == []


def test_a_recovery_is_one_and_a_submission_too(told: Told, scope: Scope) -> None:
    submit()
    judged(scope, 0, SubrunState.MISSING)
    with pytest.raises(TaskDeferred):
        recover().execute(context())
    assert values(told, metrics.Name.RECOVERIES) == [(1, GEN)]
    assert values(told, metrics.Name.SUBMISSIONS) == [(1, GEN)] * 2


def test_a_check_tells_how_the_stage_of_the_dag_run_stands(told: Told, scope: Scope) -> None:
    submit()
    judged(scope, 0, SubrunState.MISSING)
    metrics.checked(scope, "gen")
    assert values(told, metrics.Name.MISSING) == [(3, GEN)]
    assert values(told, metrics.Name.ACCEPTED) == values(told, metrics.Name.DUPLICATES) == [(0, GEN)]


def test_a_poll_tells_jobs_by_state_and_how_long_recording_took(
    told: Told, scope: Scope, pool: FakePool, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit()
    monkeypatch.setattr(watching, "_watched", {})
    watching.remember(watching.look_up(scope.tag("gen")))
    (item,) = watching._watched.values()
    watching.record(SCHEDD, pool.counts(SCHEDD, {Awaited(item.cluster, item.tag): 3}, now=5.0), 5.0)
    seen = {state: values(told, name) for state, name in metrics.BY_STATE.items()}
    assert seen["idle"] == [(3, {"schedd": SCHEDD})]
    assert {state: found[0][0] for state, found in seen.items() if state != "idle"} == dict.fromkeys(
        ("running", "held", "completed", "removed", "unknown"), 0
    )
    ((took, tags),) = values(told, metrics.Name.POLL_RECORDED)
    assert took > 0
    assert tags == {"schedd": SCHEDD}


def test_every_name_is_documented_and_nothing_else_is() -> None:
    rows = re.findall(r"^\| `(prodsys\.[\w.]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(name.value for name in metrics.Name)
