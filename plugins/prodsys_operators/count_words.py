"""Counts of a cluster's jobs in words, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from include.batch.pool import ClusterCounts

SAMPLED = ("idle", "running", "held", "completed", "removed", "unknown")


def alive(count: ClusterCounts) -> bool:
    """Whether jobs of the cluster run or wait: it came back early, for those that are held."""
    return bool(count.idle or count.running)


def in_numbers(count: ClusterCounts) -> dict[str, int]:
    """Return counts as JSON values."""
    names = ("total", "idle", "running", "held", "completed", "removed", "unknown")
    return {name: getattr(count, name) for name in names}


def in_words(count: ClusterCounts) -> str:
    """Return counts as a phrase, leaving out what is zero."""
    parts = [f"{number} {name}" for name in SAMPLED if (number := getattr(count, name))]
    return f"{', '.join(parts) or 'nothing seen yet'} of {count.total}"


def ending(count: ClusterCounts) -> str:
    """Say why the wait is over."""
    if count.ended == count.total:
        return f"every job has ended: {in_words(count)}; the check says how well"
    return (
        f"{in_words(count)}; held or unknown jobs are beyond their limit (hold_limit, unknown_limit), "
        "the check says what is known of them"
    )
