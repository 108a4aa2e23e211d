"""What Airflow's own views say of a campaign: documentation, form, owner's link, links of tasks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from prodsys_operators.pages.links import CampaignLink, TriageLink

if TYPE_CHECKING:
    import pytest
    from airflow.sdk import DAG

    from prodsys_operators.settings import Settings

TI = SimpleNamespace(
    dag_id="unit.three", run_id="manual__2026-11-27T10:00:00+00:00", task_id="x", map_index=0
)


def compiled() -> DAG:
    from prodsys_operators.campaign_dag import compile_campaign

    return compile_campaign("unit/three.yaml")


def test_the_documentation_names_every_stage_and_leads_to_the_pages(deployment: Settings) -> None:
    doc = compiled().doc_md or ""
    for stage in ("gen", "reco", "merge_reco"):
        assert f"| {stage} |" in doc
    assert "[progress](/prodsys/campaigns/unit.three)" in doc
    assert "[triage](/prodsys/campaigns/unit.three/triage)" in doc
    assert "2 recoveries, then ask" in doc
    assert "outputs of gen" in doc
    assert str(deployment.area) in doc
    columns = {line.count("|") for line in doc.splitlines() if line.startswith("|")}
    assert columns == {8}


def test_the_form_says_what_a_slice_costs_and_how_many_there_may_be(deployment: Settings) -> None:
    dag = compiled()
    assert not any(task.params for task in dag.tasks), "each task had a copy of the form"
    field = dag.params.get_param("slices")
    assert "6 jobs without merges and recoveries, up to 1 CPU-hours" in field.description
    assert (field.schema["minimum"], field.schema["maximum"], field.value) == (1, 10, 2)


def test_the_owner_leads_to_their_campaigns(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/sub/")
    assert compiled().owner_links == {"tests": "https://airflow.example/sub/prodsys/campaigns?q=tests"}
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "")
    assert compiled().owner_links == {}


def test_tasks_link_to_their_dag_runs_pages_and_tasks_of_others_to_nothing(deployment: Settings) -> None:
    task = compiled().get_task("slice.gen.check")
    run = "manual__2026-11-27T10%3A00%3A00%2B00%3A00"
    assert CampaignLink().get_link(task, ti_key=TI) == f"/prodsys/campaigns/unit.three?run_id={run}"
    assert TriageLink().get_link(task, ti_key=TI) == f"/prodsys/campaigns/unit.three/triage?run_id={run}"
    assert CampaignLink().get_link(SimpleNamespace(), ti_key=TI) == ""
