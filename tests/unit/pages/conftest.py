"""The pages with Airflow's own security and database behind them, without its processes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from prodsys_operators import settings as settings_module
from tests.progress_ledger import fill

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from include.bookkeeping.ledger import Ledger

CAMPAIGNS = ("demo.z", "demo.quiet", "demo.secret")
SITE = "http://airflow.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """The pages as a browser sees them."""

    app: FastAPI
    ledger: Ledger
    tokens: dict[str, str]

    def get(self, path: str, *, who: str = "ann", **headers: str) -> httpx.Response:
        """GET as a user with a session's cookie."""
        return self.send("GET", path, who=who, headers=headers)

    def post(self, path: str, form: dict[str, Any], *, who: str = "ann", **headers: str) -> httpx.Response:
        """POST a form, by default as the page's own form is sent."""
        return self.send(
            "POST", path, who=who, data=form, headers=headers or {"sec-fetch-site": "same-origin"}
        )

    def send(self, method: str, path: str, *, who: str, **more: Any) -> httpx.Response:
        """Send one request to the application, mounted as Airflow mounts it."""
        cookies = {"_token": self.tokens[who]} if who else {}

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, root_path="", raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url=SITE, cookies=cookies) as client:
                return await client.request(method, f"/prodsys{path}", **more)

        return asyncio.run(ask())


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    """The pages over a filled ledger: `ann` may edit demo.z and demo.quiet, `bob` may only read demo.z."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        _configure(folder, patch)
        from airflow import settings as airflow_settings

        before = airflow_settings.SQL_ALCHEMY_CONN
        airflow_settings.configure_vars()
        airflow_settings.configure_orm()
        try:
            yield _made()
        finally:
            airflow_settings.dispose_orm()
            settings_module.settings.cache_clear()
            patch.undo()
            airflow_settings.SQL_ALCHEMY_CONN = before
            airflow_settings.configure_vars()
            airflow_settings.configure_orm()


def _configure(folder: Path, patch: pytest.MonkeyPatch) -> None:
    values = {
        "AIRFLOW_HOME": folder,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__CORE__AUTH_MANAGER": "tests.unit.pages.narrow.NarrowAuthManager",
        "AIRFLOW__API_AUTH__JWT_SECRET": "tests alone " * 8,
        "AIRFLOW__PRODSYS__LEDGER": f"sqlite:///{folder}/ledger.db",
        "AIRFLOW__PRODSYS__SPECS": folder,
        "AIRFLOW__PRODSYS__AREA": folder,
        "AIRFLOW__PRODSYS__WORK_DIR": folder,
    }
    for name, value in values.items():
        patch.setenv(name, str(value))
    settings_module.settings.cache_clear()


def _made() -> Pages:
    from airflow import settings as airflow_settings
    from airflow.api_fastapi.app import create_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.models import DagModel, import_all_models
    from airflow.models.base import Base
    from airflow.models.dagbundle import DagBundleModel
    from fastapi import FastAPI

    from prodsys_operators.pages.app import make_app
    from prodsys_operators.pages.source import ledger

    import_all_models()
    Base.metadata.create_all(airflow_settings.engine)
    with airflow_settings.Session() as session:
        session.add(DagBundleModel(name="specs"))
        session.flush()
        for dag_id in CAMPAIGNS:
            session.add(
                DagModel(
                    dag_id=dag_id, bundle_name="specs", max_active_tasks=1, max_consecutive_failed_dag_runs=0,
                    has_task_concurrency_limits=False, timetable_type="", timetable_partitioned=False,
                )
            )  # fmt: skip
        session.commit()
    purge_cached_app()
    manager = create_auth_manager()
    tokens = {
        name: manager.generate_jwt(SimpleAuthManagerUser(username=name, role=role))
        for name, role in (("ann", "user"), ("bob", "viewer"))
    }
    ledger.cache_clear()
    ledger().upgrade()
    fill(ledger())
    outer = FastAPI()
    outer.mount("/prodsys", make_app())
    return Pages(app=outer, ledger=ledger(), tokens=tokens)
