"""A running job's log is read live and searched after its end; the server's absence costs the job nothing."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from embedded.airflow_group import PARTS
from embedded.processes import command, end
from include.logserver.records import JobClaims, Where
from include.logserver.store import LogStore
from include.logserver.tokens import job_token
from tests.integration.test_campaign import failed_tasks, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.logserver.records import LogInfo
    from tests.integration.deployments import Site

LIVE = "logs.live"
LIMIT_S = 600.0


def texts(store: LogStore, log: LogInfo) -> list[str]:
    return [line.text for line in store.tail(log.id).lines]


def logs_of(store: LogStore, word: str) -> dict[int | None, LogInfo]:
    """Return subrun → log, of logs with a line that begins with a word."""
    found = store.logs(Where(dag_id=LIVE))
    return {
        log.first_subrun: log for log in found if any(text.startswith(word) for text in texts(store, log))
    }


def api_server(site: Site) -> set[int]:
    group = site.deployment.airflow()
    assert group is not None
    return {pid for pid in group.members() if any(name in command(pid) for name in PARTS["api-server"])}


@pytest.fixture(scope="module")
def story(sqlite_site: Site) -> Iterator[tuple[Site, LogStore, str, dict[str, Any]]]:
    """Run the campaign; what was seen while it ran: its site, its logs, its dag_run, and what was seen."""
    site, seen = sqlite_site, {}
    gates = site.deployment.area / "gates"
    gates.mkdir()
    with LogStore(site.deployment.logs_url) as store:
        site.api.wait_for_dag(LIVE, limit_s=120)
        run_id = site.api.trigger(LIVE)
        wait_until(
            lambda: len(logs_of(store, "quokka")) == 2, "both logs are there while the jobs wait", LIMIT_S
        )
        seen["live"] = {subrun: (log, texts(store, log)) for subrun, log in logs_of(store, "quokka").items()}
        server = api_server(site)
        assert server
        end(server, signal.SIGSTOP)
        try:
            (gates / "0").touch()
            folder = site.deployment.area
            wait_until(
                lambda: list(folder.glob(f"**/{seen['live'][0][0].execution}/report.json")), "it ended"
            )
            (seen["report"],) = folder.glob(f"**/{seen['live'][0][0].execution}/report.json")
        finally:
            end(server, signal.SIGCONT)
        (gates / "1").touch()
        state = site.api.follow(LIVE, run_id, limit_s=LIMIT_S)
        assert state == "success", failed_tasks(site, LIVE, run_id)
        yield site, store, run_id, seen


def test_a_log_is_read_while_the_job_runs(story: Any) -> None:
    _, _, _, seen = story
    for subrun in (0, 1):
        log, lines = seen["live"][subrun]
        assert log.ended is None
        assert f"quokka {subrun} <b>waits</b>" in lines
        assert not any("wombat" in line for line in lines)
        assert (log.stage, log.run, log.node["host"]) == ("gen", 1, log.host)


def test_a_job_ends_as_ever_while_the_server_is_away(story: Any) -> None:
    site, _, run_id, seen = story
    report = json.loads(seen["report"].read_bytes())
    assert (report["first_subrun"], report["exit_code"], report["error"]) == (0, 0, None)
    (progress,) = site.ledger.stage_progress(LIVE, run_id)
    assert (progress.accepted, progress.missing) == (2, 0)


def test_the_log_is_searched_after_the_end(story: Any) -> None:
    _, store, _, _ = story
    (hit,) = store.search("wombat through", Where(dag_id=LIVE, subrun=1)).hits
    assert hit.line.text == "wombat 1 went through"
    assert (hit.log.ended is not None, hit.log.exit_code, hit.log.failed_at) == (True, 0, None)


def test_nothing_is_read_or_written_without_a_token(story: Any) -> None:
    site, store, _, _ = story
    claims = JobClaims(tag="x", dag_id=LIVE, stage="gen", run=1, jobs=1)
    forged = {"Authorization": f"Bearer {job_token('x' * 40, claims, expires=4e9)}"}
    base, before = f"{site.deployment.url}/prodsys-logs", len(store.logs(limit=1000))
    body = b'{"version": 1, "execution": "1.0.0-x", "offset": 0, "size": 0}\n'
    assert httpx.post(f"{base}/v1/post", content=body, headers=forged, timeout=60).status_code == 401
    assert httpx.post(f"{base}/v1/post", content=body, timeout=60).status_code == 401
    for path in ("v1/logs", "v1/search?text=wombat", "docs", "openapi.json"):
        assert httpx.get(f"{base}/{path}", timeout=60).status_code == 404, path
    assert len(store.logs(limit=1000)) == before
