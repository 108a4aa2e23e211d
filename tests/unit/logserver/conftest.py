"""A store of logs, in SQLite and in Postgres."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from include.logserver.records import JobClaims, JobFacts, Post
from include.logserver.store import LogStore

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000.0
CLAIMS = JobClaims(tag="demo.z/t/001000/gen/recovery-0", dag_id="demo.z", stage="gen", run=1000, jobs=4)
RECO = JobClaims(tag="demo.z/t/001000/reco/recovery-0", dag_id="demo.z", stage="reco", run=1000, jobs=4)
FACTS = JobFacts(
    cluster=77,
    process=2,
    schedd="ap1.pool",
    host="wn3.example.org",
    site="FNAL",
    first_subrun=2,
    last_subrun=3,
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Any) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/the logs.db"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def store(url: str) -> Iterator[LogStore]:
    with LogStore(url) as opened:
        opened.upgrade()
        yield opened


def post(
    data: bytes = b"", offset: int = 0, *, execution: str = "77.2.1-0a1b2c3d", at: float = NOW, **more: Any
) -> Post:
    """Return a post of gen's process 2."""
    values: dict[str, Any] = {"claims": CLAIMS, "size": offset + len(data), **more}
    return Post(execution=execution, offset=offset, data=data, at=at, **values)


def text_of(store: LogStore, number: int) -> list[str | int]:
    """Return a log's lines; a gap as the number of bytes that it misses."""
    return [line.missing or line.text for piece in store.whole(number) for line in piece.lines]
