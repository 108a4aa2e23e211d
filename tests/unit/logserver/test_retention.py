"""What is removed, what never is, and that tidying changes nothing that can be read or found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import sqlalchemy as sa

from include.logserver.records import JobEnd, Policy, Where
from include.logserver.tables import blocks, submissions
from tests.unit.logserver.conftest import CLAIMS, NOW, RECO, post, text_of

if TYPE_CHECKING:
    from include.logserver.store import LogStore

DAY = 86400.0


def fill(store: LogStore) -> None:
    """Ten logs of 100 bytes, one a day; each has a word of its own."""
    for n in range(10):
        claims = replace(CLAIMS if n < 5 else RECO, run=1000)
        line = f"word{n} ".encode().ljust(99) + b"\n"
        store.append([post(line, execution=f"1.{n}.0-0", at=NOW + n * DAY, claims=claims)])


def test_old_logs_go(store: LogStore) -> None:
    fill(store)
    gone = store.expire(Policy(days=4.5, total_bytes=0), now=NOW + 10 * DAY)
    assert (gone.logs, gone.freed) == (6, 600)
    assert [log.execution for log in store.logs()] == ["1.9.0-0", "1.8.0-0", "1.7.0-0", "1.6.0-0"]
    assert store.total_bytes() == 400
    assert not store.search("word5").hits
    assert store.search("word6").hits
    with store._read() as connection:
        assert connection.execute(sa.select(submissions.c.tag)).scalars().all() == [RECO.tag]


def test_the_oldest_logs_make_room(store: LogStore) -> None:
    fill(store)
    assert store.expire(Policy(days=0, total_bytes=1000), now=NOW + 10 * DAY).logs == 0
    assert store.expire(Policy(days=0, total_bytes=750), now=NOW + 10 * DAY).logs == 3
    assert len(store.logs()) == 7


def test_a_log_that_is_being_written_never_goes(store: LogStore) -> None:
    fill(store)
    gone = store.expire(Policy(days=0, total_bytes=1), now=NOW + 9 * DAY + 60)
    assert gone.logs == 9
    assert [log.execution for log in store.logs()] == ["1.9.0-0"]


def test_tidying_puts_small_blocks_together(store: LogStore) -> None:
    for n in range(50):
        store.append([post(f"line{n} of many\n".encode().ljust(50, b"."), offset=50 * n, at=NOW + n)])
    store.append([post(b"after a gap\n", offset=5000, at=NOW + 50, end=JobEnd(exit_code=0))])
    store.append([post(b"still runs\n", execution="1.1.0-0", at=NOW + 50)])
    (_, log) = store.logs()
    before = text_of(store, log.id)
    assert store.tidy(now=NOW + 60) == 1
    assert store.tidy(now=NOW + 60) == 0
    assert text_of(store, log.id) == before
    with store._read() as connection:
        mine = sa.select(sa.func.count()).select_from(blocks).where(blocks.c.log_id == log.id)
        assert connection.scalar(mine) == 2
    for word in ("line0", "line49", "gap"):
        assert len(store.search(word).hits) == 1, word
    assert store.expire(Policy(days=1, total_bytes=0), now=NOW + 9 * DAY).logs == 2
    assert not store.search("line0").hits


def test_tidying_between_two_pages_of_a_search_loses_no_line(store: LogStore) -> None:
    text = [f"error {n}\n".encode() for n in range(21)]
    for n, line in enumerate(text):
        end = JobEnd(exit_code=1) if n == 20 else None
        store.append([post(line, offset=sum(map(len, text[:n])), at=NOW + n, end=end)])
    first = store.search("error", limit=5)
    assert store.tidy(now=NOW + 60) == 1
    rest = store.search("error", before=first.before)
    found = {hit.line.text for hit in (*first.hits, *rest.hits)}
    assert found == {f"error {n}" for n in range(21)}


def test_tidying_moves_no_line_far_in_time(store: LogStore) -> None:
    store.append([post(b"early\n", at=NOW)])
    store.append([post(b"late\n", offset=6, at=NOW + 4000, end=JobEnd(exit_code=0))])
    store.tidy(now=NOW + 9000)
    assert [len(store.search(word, Where(until=NOW + 10)).hits) for word in ("early", "late")] == [1, 0]


def test_refusals_add_up(store: LogStore) -> None:
    store.count_refusals("2027-01-15", {"forged": 2, "expired": 1})
    store.count_refusals("2027-01-15", {"forged": 3})
    store.count_refusals("2027-01-16", {})
    assert store.refusals() == {"2027-01-15": {"expired": 1, "forged": 5}}
    assert store.refusals("2027-01-16") == {}
