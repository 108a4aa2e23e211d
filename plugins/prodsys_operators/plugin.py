"""What prodsys registers with Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from prodsys_operators import log_server


class ProdsysPlugin(AirflowPlugin):
    """prodsys as Airflow lists it under Admin → Plugins."""

    name = "prodsys"
    fastapi_apps = [  # noqa: RUF012  Airflow's way
        # Public, and takes nothing without a token of prodsys's own: what is read goes through the pages.
        {"name": "prodsys logs", "url_prefix": log_server.URL_PREFIX, "app": log_server.app},
    ]
