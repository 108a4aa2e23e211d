"""The order of stages: parents first, circles refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def in_order(parents: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    """Return the stages, each after its parents, else as written; and the circles among the rest.

    A circle is a list of stages, each the parent of the one before it, the last being a child of the first.
    """
    ordered: list[str] = []
    rest = list(parents)
    while rest:
        ready = [name for name in rest if all(parent in ordered for parent in parents[name])]
        if not ready:
            return ordered, _circles(parents, rest)
        ordered.append(ready[0])
        rest.remove(ready[0])
    return ordered, []


def ancestors(parents: Mapping[str, Sequence[str]], stage: str) -> set[str]:
    """Return `stage` and all that it is made from."""
    found: set[str] = set()
    waiting = [stage]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += parents.get(name, ())
    return found


def _circles(parents: Mapping[str, Sequence[str]], rest: Sequence[str]) -> list[list[str]]:
    """Follow parents that wait too until a stage comes twice: from each stage of `rest`, each circle once."""
    circles: list[list[str]] = []
    seen: set[str] = set()
    for start in rest:
        walk: list[str] = []
        name = start
        while name not in walk and name not in seen:
            walk.append(name)
            name = next(parent for parent in parents[name] if parent in rest)
        if name in walk:
            circles.append(walk[walk.index(name) :])
        seen.update(walk)
    return circles
