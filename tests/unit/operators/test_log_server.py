"""What jobs are told of the log server, and the server inside Airflow's api-server."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.bookkeeping.records import Unit
from include.errors import ProdsysError
from include.logserver.records import JobClaims, JobFacts, Post, Where
from include.logserver.tokens import read_job_token
from prodsys_operators import log_server
from prodsys_operators import settings as settings_module
from prodsys_operators.campaign_dag import load_plan, spec_path
from prodsys_operators.check import note_categories
from prodsys_operators.plugin import ProdsysPlugin
from prodsys_operators.scope import Scope
from prodsys_operators.sending import intend, log_target_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prodsys_operators.settings import Settings

KEY = "k" * 40
UNITS = (Unit(process=0, first_subrun=0, last_subrun=0, inputs=()),)
log = logging.getLogger(__name__)


@pytest.fixture
def with_server(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The deployment with a log server in its api-server, the database made."""
    monkeypatch.setenv("AIRFLOW__PRODSYS__LOG_SERVER", "http://127.0.0.1:8080/prodsys-logs")
    monkeypatch.setenv("AIRFLOW__PRODSYS__LOG_KEY", KEY)
    settings_module.settings.cache_clear()
    made = settings_module.settings()
    with made.open_logs() as logs:
        logs.upgrade()
    return made


@pytest.fixture
def scope(with_server: Settings) -> Iterator[Scope]:
    with with_server.open_ledger() as ledger:
        plan = load_plan(spec_path("unit/three.yaml"), specs=spec_path("."), area=with_server.area)
        first, *_ = ledger.reserve(plan, tranche="t", dag_run_id="t", slices=1, now=1.0)
        yield Scope(settings=with_server, ledger=ledger, plan=plan, slice=first)


def test_jobs_are_given_a_token_of_their_submission(scope: Scope) -> None:
    intent = intend(scope, "gen", recovery=0, units=UNITS)
    target = log_target_of(scope, intent, log=log)
    assert target is not None
    assert target == log_target_of(scope, intent, log=log)
    claims, expires = read_job_token(KEY.encode(), target.token, now=intent.intended_at)
    assert (claims.tag, claims.dag_id, claims.stage, claims.run, claims.jobs) == (
        intent.tag, "unit.three", "gen", scope.slice.run, 1,
    )  # fmt: skip
    assert expires == pytest.approx(intent.intended_at + 60 * 86400, abs=1)


def test_without_a_server_or_a_good_key_jobs_send_nothing(
    scope: Scope, caplog: pytest.LogCaptureFixture
) -> None:
    intent = intend(scope, "gen", recovery=0, units=UNITS)
    none = replace(scope, settings=replace(scope.settings, log_server=""))
    assert log_target_of(none, intent, log=log) is None
    short = replace(scope, settings=replace(scope.settings, log_key="short"))
    assert log_target_of(short, intent, log=log) is None
    assert "[prodsys] log_key: the log server's key has 5 bytes" in caplog.text


def test_the_database_is_beside_the_ledger_unless_said(deployment: Settings, tmp_path: Path) -> None:
    assert deployment.logs_url == f"sqlite:///{tmp_path}/logs.db"
    assert replace(deployment, logs_db="postgresql://x/y").logs_url == "postgresql://x/y"
    with pytest.raises(ProdsysError, match="logs_db not set"):
        _ = replace(deployment, ledger="postgresql://x/y").logs_url
    assert KEY not in repr(replace(deployment, log_key=KEY))


def ask(app: Any, method: str, path: str, **more: Any) -> httpx.Response:
    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            return await client.request(method, path, **more)

    return asyncio.run(once())


def test_the_plugin_has_it_where_jobs_are_sent(scope: Scope) -> None:
    (entry,) = [each for each in ProdsysPlugin.fastapi_apps if each["name"] == "prodsys logs"]
    assert (entry["url_prefix"], entry["app"]) == (log_server.URL_PREFIX, log_server.app)
    target = log_target_of(scope, intend(scope, "gen", recovery=0, units=UNITS), log=log)
    assert target is not None
    head = json.dumps({"version": 1, "execution": "1.0.0-x", "offset": 0, "size": 4})
    headers = {"Authorization": f"Bearer {target.token}"}
    body = f"{head}\nabc\n".encode()
    answer = ask(log_server.LogServer(), "POST", "/v1/post", content=body, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"offset": 4})
    with scope.settings.open_logs() as logs:
        assert [one.dag_id for one in logs.logs()] == ["unit.three"]


def test_what_is_not_there_answers_so(with_server: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ask(log_server.LogServer(), "GET", "/v1/health").json() == {"status": "ok"}
    assert ask(log_server.LogServer(), "GET", "/v1/logs").status_code == 404
    for name, value, words in (
        ("LOG_SERVER", "https://logs.example.org", "there is no log server here"),
        ("LOG_KEY", "short", "the log server's key has 5 bytes"),
        ("LOG_SPACE", "5", "log_space: '5' has no unit"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(f"AIRFLOW__PRODSYS__{name}", value)
            settings_module.settings.cache_clear()
            answer = ask(log_server.LogServer(), "POST", "/v1/post")
        assert answer.status_code == 503
        assert words in answer.json()["error"], name


def test_what_triage_found_can_be_searched_for(scope: Scope, caplog: pytest.LogCaptureFixture) -> None:
    intent = intend(scope, "gen", recovery=0, units=UNITS)
    claims = JobClaims(tag=intent.tag, dag_id="unit.three", stage="gen", run=10, jobs=1)
    facts = JobFacts(first_subrun=0)
    sent = Post(
        claims=claims, execution="1.0.0-x", offset=0, size=2, data=b"a\n", at=1.0, facts=facts
    )  # fmt: skip
    diagnosis = SimpleNamespace(failure=SimpleNamespace(first_subrun=0), category="memory")
    reviewed = (SimpleNamespace(submission=intent, diagnoses=(diagnosis,)),)
    with scope.settings.open_logs() as logs:
        logs.append([sent])
        note_categories(scope, reviewed, log=log)
        assert [one.first_subrun for one in logs.logs(Where(category="memory"))] == [0]
    away = replace(scope, settings=replace(scope.settings, logs_db="postgresql://nobody@127.0.0.1:1/logs"))
    note_categories(away, reviewed, log=log)
    assert "logs cannot be searched by category: the logs' database" in caplog.text
