"""What prodsys registers with Airflow."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from prodsys_operators import log_server
from prodsys_operators.pages.links import CampaignLink, TriageLink
from prodsys_operators.pages.mount import PREFIX, mounted


def _view(name: str, destination: str, href: str, route: str) -> dict[str, Any]:
    return {
        "name": name,
        "destination": destination,
        "href": f"{PREFIX}/{href}",
        "url_route": route,
        "icon": f"{PREFIX}/static/icon.svg",
        "icon_dark_mode": f"{PREFIX}/static/icon-dark.svg",
    }


class ProdsysPlugin(AirflowPlugin):
    """prodsys as Airflow lists it under Admin → Plugins."""

    name = "prodsys"
    fastapi_apps = [  # noqa: RUF012  Airflow's own way
        {"app": mounted, "url_prefix": PREFIX, "name": "prodsys pages"},
        # Public, and takes nothing without a token of prodsys's own: what is read goes through the pages.
        {"app": log_server.app, "url_prefix": log_server.URL_PREFIX, "name": "prodsys logs"},
    ]
    external_views = [  # noqa: RUF012
        _view("Campaigns", "nav", "campaigns", "prodsys-campaigns"),
        _view("Nodes", "nav", "nodes", "prodsys-nodes"),
        _view("Progress", "dag", "campaigns/{DAG_ID}", "progress"),
        _view("Triage", "dag", "campaigns/{DAG_ID}/triage", "triage"),
        _view("Progress", "dag_run", "campaigns/{DAG_ID}?run_id={RUN_ID}", "run-progress"),
        _view("Triage", "dag_run", "campaigns/{DAG_ID}/triage?run_id={RUN_ID}", "run-triage"),
        _view("Progress", "task", "campaigns/{DAG_ID}", "task-progress"),
        _view("Triage", "task_instance", "campaigns/{DAG_ID}/triage?run_id={RUN_ID}", "task-triage"),
    ]
    global_operator_extra_links = [  # noqa: RUF012
        CampaignLink(),
        TriageLink(),
    ]
