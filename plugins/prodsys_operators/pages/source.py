"""The ledger of this process, and what it said a moment ago: many open browsers cost one look."""

from __future__ import annotations

import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from prodsys_operators.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from include.bookkeeping.ledger import Ledger
    from include.logserver.store import LogStore

FRESH_S = 2.0
"""What was looked up stays good for so long, seconds."""
STALE_S = 20.0
"""While a value is made anew, the last one is given out until it is so old, seconds."""
KEPT = 256

Value = TypeVar("Value")


@cache
def ledger() -> Ledger:
    """Return the deployment's ledger; its connections are shared by all requests of this process."""
    return settings().open_ledger()


@cache
def logs() -> LogStore:
    """Return the store of logs that jobs send, shared likewise."""
    return settings().open_logs()


class Recent(Generic[Value]):
    """Remembers values for a moment; who asks while one is made gets the last one, or waits for the first."""

    def __init__(
        self, *, fresh_s: float = FRESH_S, kept: int = KEPT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fresh_s = fresh_s
        self._kept = kept
        self._clock = clock
        self._values: dict[Hashable, tuple[float, Value]] = {}
        self._making: dict[Hashable, threading.Event] = {}
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`, made anew if it is too old."""
        while True:
            with self._lock:
                there, made = self._values.get(key), self._making.get(key)
                if there is not None:
                    good_s = self._fresh_s if made is None else max(self._fresh_s, STALE_S)
                    if self._clock() - there[0] < good_s:
                        return there[1]
                if made is None:
                    mine = self._making[key] = threading.Event()
                    break
            made.wait()
        return self._made(key, make, mine)

    def clear(self) -> None:
        """Forget everything, what is being made as well, after an action that changed what pages show."""
        with self._lock:
            self._values.clear()
            self._making.clear()

    def _made(self, key: Hashable, make: Callable[[], Value], mine: threading.Event) -> Value:
        """Make a value, remember it unless all was forgotten meanwhile, and let who waits go on."""
        try:
            value = make()
            with self._lock:
                if self._making.get(key) is mine:
                    self._values[key] = (self._clock(), value)
                    self._forget()
            return value
        finally:
            with self._lock:
                if self._making.get(key) is mine:
                    del self._making[key]
            mine.set()

    def _forget(self) -> None:
        """Keep the number of values bounded."""
        if len(self._values) > self._kept:
            for key in sorted(self._values, key=lambda key: self._values[key][0])[: self._kept // 2]:
                del self._values[key]


recent: Recent[Any] = Recent()
"""What the ledger said to anybody; what a user may see of it is chosen afterwards, or is part of the key."""
pinned: Recent[str] = Recent(fresh_s=3600.0, kept=32)
"""Texts of plans, large ones among them; a plan stays as it was when its tranche was reserved."""
