"""The server over HTTP: posts that are taken, posts that are refused, and who may read."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from include.errors import LogsUnavailable
from include.logserver.app import HEALTH_PATH, POST_PATH, make_app
from include.logserver.intake import Intake, Manners
from include.logserver.protocol import MOST_BODY
from include.logserver.readers import add_routes
from include.logserver.store import LogStore
from include.logserver.tokens import job_token, reader_token
from tests.unit.logserver.conftest import CLAIMS, NOW, RECO, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

KEY = "k" * 40
MINE = {"Authorization": f"Bearer {job_token(KEY, CLAIMS, expires=NOW + 60)}"}
OTHER = {"Authorization": f"Bearer {job_token(KEY, RECO, expires=NOW + 60)}"}
READER = {"Authorization": f"Bearer {reader_token(KEY, 'ann', expires=NOW + 60)}"}


def body(data: bytes = b"", **more: Any) -> bytes:
    head = {"version": 1, "execution": "77.2.1-0a1b2c3d", "offset": 0, "size": len(data), **more}
    return json.dumps(head).encode() + b"\n" + data


@asynccontextmanager
async def serving(store: LogStore, **manners: Any) -> AsyncIterator[tuple[httpx.AsyncClient, Intake]]:
    intake = Intake(store, KEY, manners=Manners(**manners), clock=lambda: NOW)
    app = make_app(intake)
    add_routes(app, intake)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://logs") as client:
        try:
            yield client, intake
        finally:
            await intake.stop()


def test_posts_are_stored_and_answered_with_the_offset(store: LogStore) -> None:
    async def scenario() -> None:
        async with serving(store) as (client, _):
            facts = {
                "cluster": 77,
                "process": 2,
                "host": "wn3\x1b[31m",
                "node": {"cpus": 4, "x\0": ["\x1b"], "load": float("inf")},
            }
            answer = await client.post(POST_PATH, headers=MINE, content=body(b"one\n", facts=facts))
            assert (answer.status_code, answer.json()) == (200, {"offset": 4})
            assert answer.headers["content-security-policy"].startswith("default-src 'none'")
            posts = [
                body(b"two\n", offset=4, size=8),
                body(b"one\ntwo\n"),
                body(b"", offset=8, end={"exit_code": 1}),
            ]
            for each in posts:
                answer = await client.post(POST_PATH, headers=MINE, content=each)
                assert answer.json() == {"offset": 8}
            assert (await client.get(HEALTH_PATH)).json() == {"status": "ok"}

    asyncio.run(scenario())
    (log,) = store.logs()
    assert text_of(store, log.id) == ["one", "two"]
    assert (log.host, log.exit_code, log.node) == ("wn3", 1, {"cpus": 4, "x": [""], "load": None})


@pytest.mark.parametrize(
    ("headers", "content", "status", "reason"),
    [
        ({}, body(), 401, "no-token"),
        ({"Authorization": "Basic x"}, body(), 401, "no-token"),
        ({"Authorization": "Bearer x.y.z"}, body(), 401, "forged"),
        (READER, body(), 401, "forged"),
        ({"Authorization": f"Bearer {job_token(KEY, CLAIMS, expires=NOW - 1)}"}, body(), 401, "expired"),
        (MINE, b"", 400, "malformed"),
        (MINE, b"{}\n", 400, "malformed"),
        (MINE, b"not json\n", 400, "malformed"),
        (MINE, b"[" * 10_000 + b"\n", 400, "malformed"),
        (MINE, b"x" * 60_000, 400, "malformed"),
        (MINE, body(version=2), 400, "malformed"),
        (MINE, body(execution="../../etc/passwd"), 400, "malformed"),
        (MINE, body(execution="a/b"), 400, "malformed"),
        (MINE, body(execution=""), 400, "malformed"),
        (MINE, body(execution="x' OR 1=1"), 400, "malformed"),
        (MINE, body(offset=-1), 400, "malformed"),
        (MINE, body(offset=2**60), 400, "malformed"),
        (MINE, body(offset=10**400), 400, "malformed"),
        (MINE, body(offset="0"), 400, "malformed"),
        (MINE, body(tag=RECO.tag), 400, "malformed"),
        (MINE, body(facts={"host": 5}), 400, "malformed"),
        (MINE, body(facts={"cluster": -5}), 400, "malformed"),
        (MINE, body(end={"exit_code": True}), 400, "malformed"),
        (MINE, body(b"x" * 65_537), 413, "too-long"),
        (MINE, b"x" * (MOST_BODY + 1), 413, "too-long"),
        ({**MINE, "Content-Length": "9" * 30}, b"", 413, "too-long"),
    ],
)  # fmt: skip
def test_what_is_refused_is_counted_and_stores_nothing(
    store: LogStore, headers: dict[str, str], content: bytes, status: int, reason: str
) -> None:
    async def scenario() -> None:
        async with serving(store) as (client, intake):
            answer = await client.post(POST_PATH, headers=headers, content=content)
            assert (answer.status_code, dict(intake.refused)) == (status, {reason: 1}), answer.text
            assert answer.json()["error"]

    asyncio.run(scenario())
    assert store.logs() == []
    assert store.refusals() == {"2027-01-15": {reason: 1}}


def test_a_job_writes_its_own_submissions_logs_only(store: LogStore) -> None:
    async def scenario() -> None:
        async with serving(store) as (client, _):
            await client.post(POST_PATH, headers=MINE, content=body(b"mine\n"))
            answer = await client.post(POST_PATH, headers=OTHER, content=body(b"XXXX\nYYYY\n"))
            assert answer.json() == {"offset": 10}

    asyncio.run(scenario())
    other, mine = store.logs()
    assert (other.tag, text_of(store, mine.id)) == (RECO.tag, ["mine"])


def test_a_body_that_never_ends_is_cut_and_others_go_on(store: LogStore) -> None:
    async def drip() -> AsyncIterator[bytes]:
        yield body()[:10]
        await asyncio.Event().wait()

    async def flood() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    async def scenario() -> None:
        async with serving(store, body_s=2) as (client, intake):
            slow = asyncio.create_task(client.post(POST_PATH, headers=MINE, content=drip()))
            answer = await client.post(POST_PATH, headers=MINE, content=flood())
            assert answer.status_code == 413
            assert (await client.post(POST_PATH, headers=MINE, content=body(b"x\n"))).status_code == 200
            assert (await slow).status_code == 408
            assert dict(intake.refused) == {"too-long": 1, "too-slow": 1}

    asyncio.run(scenario())


def test_tiny_posts_without_end_are_slowed_down(store: LogStore) -> None:
    async def scenario() -> None:
        async with serving(store, burst=5, posts_per_s=0.001, rates_known=2) as (client, intake):
            codes = []
            for n in range(12):
                answer = await client.post(POST_PATH, headers=MINE, content=body(b"x", offset=n))
                codes.append(answer.status_code)
            assert codes == [200] * 5 + [429] * 7
            assert answer.headers["retry-after"] == "60"
            renamed = [
                await client.post(POST_PATH, headers=MINE, content=body(b"x", execution=f"1.0.{n}-0"))
                for n in range(20)
            ]
            # Four jobs of five: new names help only so far.
            assert sum(answer.status_code == 200 for answer in renamed) <= 20
            assert (await client.post(POST_PATH, headers=OTHER, content=body(b"x"))).status_code == 200
            assert intake.refused["too-often"] >= 7

    asyncio.run(scenario())


def test_many_posts_at_once_are_all_stored(store: LogStore) -> None:
    async def scenario() -> None:
        async with serving(store, burst=1000) as (client, _):
            posts = [
                client.post(POST_PATH, headers=MINE, content=body(f"{n:03}\n".encode(), offset=4 * n))
                for n in range(200)
            ]
            answers = await asyncio.gather(*posts)
            assert {answer.status_code for answer in answers} == {200}

    asyncio.run(scenario())
    (log,) = store.logs()
    assert text_of(store, log.id) == [f"{n:03}" for n in range(200)]


def test_a_database_that_is_away_is_said() -> None:
    async def scenario() -> None:
        with LogStore("postgresql://nobody@127.0.0.1:1/logs") as away:
            intake = Intake(away, KEY, clock=lambda: NOW)
            transport = httpx.ASGITransport(make_app(intake))
            async with httpx.AsyncClient(transport=transport, base_url="http://logs") as client:
                answer = await client.post(POST_PATH, headers=MINE, content=body(b"x\n"))
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
                assert answer.json() == {"error": "the database does not answer"}
                assert dict(intake.refused) == {"unavailable": 1}
            with pytest.raises(LogsUnavailable):
                await intake.stop()

    asyncio.run(scenario())


def test_a_database_that_is_not_there_is_no_missing_log(tmp_path: Path) -> None:
    async def scenario(store: LogStore) -> None:
        async with serving(store) as (client, _):
            answer = await client.get("/v1/logs", headers=READER)
            assert (answer.status_code, "there is no database" in answer.text) == (400, True)

    with LogStore(f"sqlite:///{tmp_path}/there is no log/logs.db") as store:
        asyncio.run(scenario(store))


def test_reading_needs_a_readers_token(store: LogStore) -> None:
    async def scenario() -> None:
        async with serving(store) as (client, _):
            await client.post(POST_PATH, headers=MINE, content=body(b"<b>an error</b>\n"))
            paths = ("/v1/logs", "/v1/logs/1", "/v1/logs/1/raw", "/v1/search?text=error", "/v1/refusals")
            for path in paths:
                for headers in ({}, MINE, {"Authorization": "Bearer x"}):
                    assert (await client.get(path, headers=headers)).status_code == 401, path
                answer = await client.get(path, headers=READER)
                assert answer.status_code == 200, path
                assert answer.headers["x-content-type-options"] == "nosniff", path
            found = (await client.get("/v1/search?text=error&stage=gen&run=1000", headers=READER)).json()
            assert [hit["line"]["text"] for hit in found["hits"]] == ["<b>an error</b>"]
            assert [log["id"] for log in found["logs"]] == [found["hits"][0]["log"]]
            raw = await client.get("/v1/logs/1/raw", headers=READER)
            assert raw.headers["content-type"] == "application/octet-stream"
            assert raw.headers["content-disposition"] == 'attachment; filename="77.2.1-0a1b2c3d.log"'
            for path, status in (
                ("/v1/logs/99", 404),
                ("/v1/search?text=*", 400),
                ("/v1/logs?run=x", 422),
                ("/v1/search?text=error&before=5:0", 200),
                ("/v1/search?text=error&before=5", 422),
                ("/v1/search?text=error&before=5:-1", 422),
                ("/v1/logs?limit=99999", 422),
                ("/docs", 404),
                ("/openapi.json", 404),
            ):
                assert (await client.get(path, headers=READER)).status_code == status, path

    asyncio.run(scenario())
