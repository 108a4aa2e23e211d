"""What prodsys registers with Airflow."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class ProdsysPlugin(AirflowPlugin):
    """prodsys as Airflow lists it under Admin → Plugins."""

    name = "prodsys"
