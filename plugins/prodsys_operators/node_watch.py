"""What a triggerer does about nodes that eat jobs after each poll, and the news of it for the waits."""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from include.errors import PoolError
from prodsys_operators import metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from contextlib import AbstractContextManager

    from include.batch.pool import ClusterCounts, Pool
    from include.bookkeeping.ledger import Ledger
    from include.recovery.black_holes import News, Queued, QueueKeeper
    from prodsys_operators.watching import Watched

log = logging.getLogger(__name__)

MOST_NEWS = 200
SAY_AGAIN_S = 3600.0
"""A node that is suspected but not excluded, or a failure, is said again after so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One line that was told."""

    number: int
    at: float
    schedd: str
    about: tuple[str, ...]
    text: str


class NodeNews:
    """The last lines on nodes; threads may tell and read at the same time."""

    def __init__(self) -> None:
        self._told: deque[Told] = deque(maxlen=MOST_NEWS)
        self._last = 0
        self._lock = threading.Lock()

    @property
    def last(self) -> int:
        """The number of the latest line; 0 before the first."""
        return self._last

    def tell(self, schedd: str, news: News, *, at: float) -> None:
        """Add a line; one about what was not done only if the same was not told within the last hour."""
        with self._lock:
            if not news.acted and any(
                (each.schedd, each.about) == (schedd, news.about) and at - each.at < SAY_AGAIN_S
                for each in self._told
            ):
                return
            self._last += 1
            self._told.append(Told(number=self._last, at=at, schedd=schedd, about=news.about, text=news.text))
        log.warning("%s", news.text)

    def after(self, number: int, schedds: Collection[str]) -> list[Told]:
        """Return the lines on these schedds that came after line `number`."""
        with self._lock:
            return [each for each in self._told if each.number > number and each.schedd in schedds]


class NodeWatch:
    """Looks after the nodes of every schedd that this triggerer polls."""

    def __init__(self) -> None:
        self.news = NodeNews()
        self._keepers: dict[str, QueueKeeper] = {}

    def after_poll(
        self,
        ledger: Ledger,
        open_pool: Callable[[], AbstractContextManager[Pool]],
        schedd: str,
        polled: Mapping[int, ClusterCounts],
        clusters: Mapping[int, Queued],
        *,
        at: float,
    ) -> None:
        """Exclude nodes that the poll gives away, and keep waiting jobs off all that the ledger excludes.

        `polled` and `clusters` are by cluster; those are the clusters that somebody waits for.
        """
        from include.recovery.black_holes import News, QueueKeeper, exclude_while_running

        keeper = self._keepers.setdefault(schedd, QueueKeeper(schedd=schedd))
        found = exclude_while_running(ledger, polled, now=at)
        for each in found:
            self.news.tell(schedd, each, at=at)
        metrics.count(metrics.Name.EXCLUSIONS, sum(each.acted for each in found), schedd=schedd)
        if not keeper.due(at) and not any(each.acted for each in found):
            return
        try:
            applied = keeper.look(ledger, open_pool, clusters, now=at)
        except PoolError as error:
            text = f"{schedd}: its waiting jobs do not know yet what is excluded; tried again soon: {error}"
            self.news.tell(schedd, News(about=("failed",), text=text, acted=False), at=at)
            return
        for each in applied:
            self.news.tell(schedd, each, at=at)


def queued(item: Watched, count: ClusterCounts) -> Queued:
    """Return what is to be known of a cluster to keep its jobs off excluded nodes."""
    from include.recovery.black_holes import Queued

    return Queued(
        machines=item.machines,
        sites=item.sites,
        intended_at=item.intended_at,
        waiting=count.idle + count.held,
    )
