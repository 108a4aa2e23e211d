"""Whatever the order of posts, repeated and overlapping: each byte is the log's own, and comes out once."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.logserver.conftest import post

if TYPE_CHECKING:
    from include.logserver.store import LogStore

SIZE = 400
TEXT = random.Random(7).randbytes(SIZE)

spans = st.tuples(st.integers(0, SIZE - 1), st.integers(0, 120)).map(lambda s: (s[0], min(SIZE, s[0] + s[1])))
numbers = iter(range(1_000_000))


@given(rounds=st.lists(st.lists(spans, min_size=1, max_size=6), min_size=1, max_size=5), tidy=st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_posts(store: LogStore, rounds: list[list[tuple[int, int]]], tidy: bool) -> None:
    execution = f"1.0.0-{next(numbers):08x}"
    sent: set[int] = set()
    for group in rounds:
        posts = [
            post(TEXT[start:stop], offset=start, execution=execution, size=SIZE) for start, stop in group
        ]
        stored = store.append(posts)
        for start, stop in group:
            sent |= set(range(start, stop))
        assert stored[-1].have == max(sent, default=-1) + 1
        if tidy:
            store.tidy(now=2e9)
    log = store.logs(limit=1)[0]
    assert (log.execution, log.stored) == (execution, len(sent))
    assert b"".join(store.raw(log.id)) == bytes(TEXT[n] for n in sorted(sent))
    pieces = [line for piece in store.whole(log.id) for line in piece.lines]
    gaps = sum(line.missing for line in pieces)
    assert gaps == log.have - len(sent)


@given(data=st.binary(max_size=300), cuts=st.lists(st.integers(0, 300), max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_fit_to_be_shown(store: LogStore, data: bytes, cuts: list[int]) -> None:
    execution = f"2.0.0-{next(numbers):08x}"
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, stop in pairwise(edges):
        store.append([post(data[start:stop], offset=start, execution=execution)])
    store.append([post(b"", offset=len(data), execution=execution)])
    log = store.logs(limit=1)[0]
    for piece in store.whole(log.id):
        for line in piece.lines:
            assert line.text.isprintable()
    assert b"".join(store.raw(log.id)) == data
