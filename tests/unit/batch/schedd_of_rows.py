"""A schedd whose history is a list of rows, of cluster 5; tests say what its queue answers."""

from __future__ import annotations

from typing import Any

from include.batch.condor import CondorPool

AP1 = "ap1.pool"


class ScheddOfRows(CondorPool):
    """The pool of one schedd; `past` is its history, empty at first."""

    def __init__(self) -> None:
        super().__init__()
        self.past: list[dict[str, Any]] = []

    def _history(
        self, schedd: str, constraint: str, projection: list[str], since: str | None = None
    ) -> list[Any]:
        assert (schedd, constraint) == (AP1, "ClusterId == 5")
        assert since is None or "ClusterId >= 5" in since
        return [{name: row[name] for name in projection if name in row} for row in self.past]
