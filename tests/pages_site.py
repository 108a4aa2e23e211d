"""The pages with Airflow's own security and database behind them, without its processes."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from prodsys_operators import settings as settings_module

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fastapi import FastAPI

    from include.bookkeeping.ledger import Ledger


@contextmanager
def pages_site(
    folder: Path, *, dag_ids: Sequence[str], users: Mapping[str, str], auth_manager: str
) -> Iterator[tuple[FastAPI, Ledger, dict[str, str]]]:
    """Give an application with the pages at /prodsys, its empty ledger, and user → session token.

    `users` is name → role of Airflow's simple auth manager, or of one that derives from it.
    """
    with pytest.MonkeyPatch.context() as patch:
        _configure(folder, patch, auth_manager)
        from airflow import settings as airflow_settings

        before = airflow_settings.SQL_ALCHEMY_CONN
        airflow_settings.configure_vars()
        airflow_settings.configure_orm()
        try:
            yield _made(dag_ids, users)
        finally:
            airflow_settings.dispose_orm()
            settings_module.settings.cache_clear()
            patch.undo()
            airflow_settings.SQL_ALCHEMY_CONN = before
            airflow_settings.configure_vars()
            airflow_settings.configure_orm()


def _configure(folder: Path, patch: pytest.MonkeyPatch, auth_manager: str) -> None:
    values = {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__AUTH_MANAGER": auth_manager,
        "AIRFLOW__API_AUTH__JWT_SECRET": "tests alone " * 8,
        "AIRFLOW__PRODSYS__LEDGER": f"sqlite:///{folder}/ledger.db",
        "AIRFLOW__PRODSYS__SPECS": folder,
        "AIRFLOW__PRODSYS__AREA": folder,
        "AIRFLOW__PRODSYS__WORK_DIR": folder,
    }
    for name, value in values.items():
        patch.setenv(name, str(value))
    settings_module.settings.cache_clear()


def _made(dag_ids: Sequence[str], users: Mapping[str, str]) -> tuple[FastAPI, Ledger, dict[str, str]]:
    from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import FastAPI

    from prodsys_operators.pages.app import make_app
    from prodsys_operators.pages.source import ledger, pinned, recent

    _register(dag_ids)
    purge_cached_app()
    manager = create_auth_manager()
    tokens = {
        name: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        for name, role in users.items()
    }
    ledger.cache_clear()
    recent.clear()
    pinned.clear()
    ledger().upgrade()
    outer = FastAPI()
    outer.mount("/prodsys", make_app())
    return outer, ledger(), tokens


def _register(dag_ids: Sequence[str]) -> None:
    """Let Airflow's database know the DAGs."""
    from airflow import settings as airflow_settings
    from airflow.models import DagModel, import_all_models
    from airflow.models.base import Base
    from airflow.models.dagbundle import DagBundleModel

    import_all_models()
    Base.metadata.create_all(airflow_settings.engine)
    with airflow_settings.Session() as session:
        session.add(DagBundleModel(name="specs"))
        session.flush()
        for dag_id in dag_ids:
            session.add(
                DagModel(
                    dag_id=dag_id, bundle_name="specs", max_active_tasks=1, max_consecutive_failed_dag_runs=0,
                    has_task_concurrency_limits=False, timetable_type="", timetable_partitioned=False,
                )
            )  # fmt: skip
        session.commit()
