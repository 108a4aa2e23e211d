"""The gauges for Prometheus: what they say, what their names are, and that they stay few."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from include.bookkeeping.ledger import Ledger
from include.bookkeeping.tables import slices
from include.campaign.naming import submission_tag
from include.campaign.states import ActionKind
from include.reports import metrics
from tests import ledger_records as records
from tests.ledger_records import NOW
from tests.unit.reports.named import panels_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = ROOT / "docs" / "grafana" / "prodsys.json"
PAGE = ROOT / "docs" / "metrics.md"
GEN = {"experiment": "demo", "campaign": "z", "stage": "gen"}


def told_of(ledger: Ledger) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return what a scrape reads: (name, labels) → value."""
    text = metrics.exposition(ledger, clock=lambda: NOW + 3 * 3600).decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return found[f"prodsys_{name}", frozenset(labels.items())]


def test_a_campaign_in_the_middle(told: Ledger) -> None:
    told.record_action(records.action(ActionKind.ASK, NOW + 2.5 * 3600))
    found = told_of(told)
    states = {state: of(found, "subruns", **GEN, state=state) for state in metrics.PARTS}
    assert states == {
        "accepted": 4, "running": 2, "idle": 1, "held": 1, "failed": 0, "unknown": 0, "waiting": 0,
    }  # fmt: skip
    assert of(found, "complete_ratio", **GEN) == 0.5
    assert of(found, "events", **GEN) == 40
    assert of(found, "output_bytes", **GEN) == 4006
    assert (of(found, "duplicate_files", **GEN), of(found, "duplicate_bytes", **GEN)) == (1, 1001)
    campaign = {"experiment": "demo", "campaign": "z"}
    assert of(found, "questions", **campaign) == 1
    assert of(found, "last_count_timestamp_seconds", **campaign) == NOW + 3 * 3600
    assert of(found, "submissions", **campaign, state="ended") == 3
    assert of(found, "submissions", **campaign, state="refused") == 1
    assert of(found, "recoveries", **campaign) == 2
    assert of(found, "failures", **campaign, category="memory") == 1
    assert of(found, "slices", **campaign, state="finished") == 0
    assert of(found, "schedd_jobs", schedd="ap1") == 5
    assert (of(found, "campaigns"), of(found, "campaigns_left_out"), of(found, "ledger_up")) == (2, 0, 1)


def begin(ledger: Ledger, tranche: str, run: int) -> str:
    """Let a dag_run of one slice and one stage be in flight since NOW; return its submission's tag."""
    plan = records.campaign_plan(stages=(records.stage_plan("gen"),))
    ledger.reserve(plan, tranche=tranche, dag_run_id=tranche, slices=1, now=NOW)
    with ledger._write() as connection:
        connection.execute(slices.update().values(in_flight_since=NOW))
    tag = submission_tag(dag_id="demo.z", tranche=tranche, run=run, stage="gen", recovery=0)
    ledger.intend(
        tag=tag, dag_id="demo.z", tranche=tranche, run=run, stage="gen", recovery=0,
        units=records.units([(n, n) for n in range(4)]), work_dir="/work", now=NOW,
    )  # fmt: skip
    ledger.record_submitted(tag, clusters=[("ap1", run, 4)], message="", now=NOW)
    return tag


def test_a_campaign_has_an_end_only_where_all_its_dag_runs_have_one(empty: Ledger) -> None:
    campaign = {"experiment": "demo", "campaign": "z", "bound": "expected"}
    first = begin(empty, "first", 1000)
    empty.record_progress([records.sample(first, NOW + 2 * 3600, running=2, completed=2)])
    assert of(told_of(empty), "end_timestamp_seconds", **campaign) == NOW + 6 * 3600
    second = begin(empty, "second", 1001)
    assert not [name for name, _ in told_of(empty) if name == "prodsys_end_timestamp_seconds"]
    empty.record_progress([records.sample(second, NOW + 2 * 3600, running=1, completed=3)])
    assert of(told_of(empty), "end_timestamp_seconds", **campaign) == NOW + 6 * 3600


def test_an_empty_ledger_and_one_that_is_away(empty: Ledger, tmp_path: Path) -> None:
    found = told_of(empty)
    assert (of(found, "ledger_up"), of(found, "campaigns")) == (1, 0)
    assert of(found, "exclusions", kind="node") == 0
    with Ledger(f"sqlite:///{tmp_path}/none.db") as away:
        assert told_of(away) == {("prodsys_ledger_up", frozenset()): 0}


def test_exclusions_in_force_are_counted(told: Ledger) -> None:
    for name, hours in (("wn1", 24.0), ("wn2", 24.0), ("wn3", 1.0)):
        told.exclude(records.exclusion(name, hours=hours))
    told.exclude(records.exclusion("BNL", kind="site"))
    found = told_of(told)
    assert (of(found, "exclusions", kind="node"), of(found, "exclusions", kind="site")) == (2, 1)


def test_too_many_campaigns_are_left_out_and_counted(told: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_CAMPAIGNS", 1)
    found = told_of(told)
    campaigns = {dict(labels).get("campaign") for _, labels in found} - {None}
    assert len(campaigns) == 1
    assert (of(found, "campaigns"), of(found, "campaigns_left_out")) == (2, 1)


def test_labels_hold_no_node_site_run_or_job(told: Ledger) -> None:
    allowed = {"experiment", "campaign", "stage", "state", "bound", "category", "schedd", "kind"}
    assert {name for _, labels in told_of(told) for name, _ in labels} <= allowed
    assert {label for metric in metrics.METRICS for label in metric.labels} <= allowed


def test_scrapes_close_to_each_other_read_once(told: Ledger) -> None:
    collector = metrics.LedgerCollector(told, clock=lambda: NOW)
    first = collector.collect()
    told.exclude(records.exclusion("wn1"))
    assert collector.collect() is first


def test_names_are_documented_with_their_labels() -> None:
    rows = re.findall(
        r"^\| `(prodsys_\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    documented = {name: (meaning, labels) for name, meaning, labels in rows}
    assert documented == {
        metric.name: (metric.meaning, ", ".join(metric.labels) or "-") for metric in metrics.METRICS
    }


def test_the_dashboard_uses_metrics_that_exist_and_labels_that_they_have() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    used: set[str] = set()
    for expression, legend in panels_of(dashboard):
        names = set(re.findall(r"\bprodsys_\w+", expression))
        assert names, expression
        assert names <= set(metrics.BY_NAME), expression
        used |= names
        labels = {label for name in names for label in metrics.BY_NAME[name].labels}
        asked = {*re.findall(r"(\w+)=~?\"", expression), *re.findall(r"{{(\w+)}}", legend)}
        assert asked <= labels, expression
    assert used == set(metrics.BY_NAME), "every metric has its place on the dashboard"


def test_the_dashboard_rule_can_fail() -> None:
    wrong: Mapping[str, object] = {"panels": [{"targets": [{"expr": "prodsys_no_such", "legendFormat": ""}]}]}
    assert not {expression for expression, _ in panels_of(wrong)} <= set(metrics.BY_NAME)
