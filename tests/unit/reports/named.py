"""What a Grafana dashboard asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def panels_of(dashboard: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (expression, legend) of every target and variable."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]
    for variable in dashboard.get("templating", {"list": []})["list"]:
        if variable["type"] == "query":
            yield variable["definition"], ""
