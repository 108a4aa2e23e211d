"""What many browsers ask for at once is looked up once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from prodsys_operators.pages.source import KEPT, Recent


def test_fifty_at_once_cost_one_look() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)
    looks: list[int] = []
    together = threading.Barrier(50)

    def look() -> int:
        looks.append(1)
        return len(looks)

    def ask(_: int) -> int:
        together.wait(timeout=60)
        return recent.get("key", look)

    with ThreadPoolExecutor(50) as pool:
        assert set(pool.map(ask, range(50))) == {1}
    assert len(looks) == 1


def test_it_is_looked_up_anew_once_it_is_old_or_was_cleared() -> None:
    now = [0.0]
    recent: Recent[float] = Recent(fresh_s=2.0, clock=lambda: now[0])
    assert recent.get("key", lambda: 1.0) == 1.0
    now[0] = 1.9
    assert recent.get("key", lambda: 2.0) == 1.0
    now[0] = 2.0
    assert recent.get("key", lambda: 3.0) == 3.0
    recent.clear()
    assert recent.get("key", lambda: 4.0) == 4.0


def test_nobody_waits_for_a_new_value_while_the_last_is_not_very_old() -> None:
    now = [0.0]
    recent: Recent[int] = Recent(fresh_s=2.0, clock=lambda: now[0])
    recent.get("key", lambda: 1)
    now[0] = 5.0
    begun, go_on = threading.Event(), threading.Event()

    def slow() -> int:
        begun.set()
        assert go_on.wait(timeout=60)
        return 2

    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(recent.get, "key", slow)
        assert begun.wait(timeout=60)
        assert recent.get("key", lambda: 3) == 1
        go_on.set()
        assert making.result(timeout=60) == 2
    assert recent.get("key", lambda: 3) == 2


def test_an_error_is_not_remembered() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)

    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011  it has no words
        recent.get("key", fail)
    assert recent._making == {}
    assert recent.get("key", lambda: 5) == 5


def test_who_waited_for_an_error_makes_the_value() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)
    begun, go_on = threading.Event(), threading.Event()

    def fail() -> int:
        begun.set()
        assert go_on.wait(timeout=60)
        raise ValueError

    with ThreadPoolExecutor(2) as pool:
        failing = pool.submit(recent.get, "key", fail)
        assert begun.wait(timeout=60)
        waiting = pool.submit(recent.get, "key", lambda: 6)
        go_on.set()
        assert waiting.result(timeout=60) == 6
        assert isinstance(failing.exception(timeout=60), ValueError)


def test_what_was_begun_before_an_action_is_not_remembered_after_it() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)

    def act_meanwhile() -> int:
        recent.clear()
        return 1

    assert recent.get("key", act_meanwhile) == 1
    assert recent._making == {}
    assert recent.get("key", lambda: 2) == 2


def test_memory_is_bounded() -> None:
    recent: Recent[int] = Recent(clock=lambda: 0.0)
    for number in range(10 * KEPT):
        recent.get(number, lambda number=number: number)
    assert len(recent._values) <= KEPT
    assert recent._making == {}
