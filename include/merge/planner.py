"""Plan a merge: per run, contiguous, in order; a subrun is never split and a hole ends a group.

The plan depends on which outputs there are, never on when or in which order they came.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from include.bookkeeping.records import MergeGroup, Unit
from include.campaign.states import OutputState
from include.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from include.bookkeeping.records import OutputRecord


def plan_groups(
    outputs: Sequence[OutputRecord], *, expected_first: int, expected_last: int, target_bytes: int
) -> tuple[MergeGroup, ...]:
    """Return the merged files to be made of the accepted `outputs` of one stage, output name and run.

    A group is closed before it would exceed `target_bytes`, unless one file alone does. LedgerError if the
    outputs are of several kinds or runs, overlap, are not accepted, or not in expected_first..expected_last.
    """
    if target_bytes < 1:
        msg = f"target size is {target_bytes} bytes: it must be at least 1"
        raise LedgerError(msg)
    ordered = sorted(outputs, key=lambda output: (output.first_subrun, output.last_subrun, output.execution))
    _require_one_kind(ordered)
    for output in ordered:
        _require_usable(output, first=expected_first, last=expected_last)
    for before, after in pairwise(ordered):
        if after.first_subrun <= before.last_subrun:
            msg = (
                f"{_span(before)} and {_span(after)} share subruns: only one of {before.path} and "
                f"{after.path} can be accepted; run the check of the stage again"
            )
            raise LedgerError(msg)
    groups: list[list[OutputRecord]] = []
    for output in ordered:
        if not groups or not _fits(groups[-1], output, target_bytes=target_bytes):
            groups.append([])
        groups[-1].append(output)
    return tuple(_group(process, members) for process, members in enumerate(groups))


def _fits(group: Sequence[OutputRecord], output: OutputRecord, *, target_bytes: int) -> bool:
    """Whether `output` follows `group` without a hole and without exceeding the target."""
    if output.first_subrun != group[-1].last_subrun + 1:
        return False
    return _bytes(group) + output.size <= target_bytes


def _bytes(group: Iterable[OutputRecord]) -> int:
    return sum(output.size for output in group)


def _group(process: int, members: Sequence[OutputRecord]) -> MergeGroup:
    return MergeGroup(
        process=process,
        first_subrun=members[0].first_subrun,
        last_subrun=members[-1].last_subrun,
        inputs=tuple(output.path for output in members),
        bytes=_bytes(members),
    )


def _require_one_kind(outputs: Sequence[OutputRecord]) -> None:
    kinds = sorted({(output.run, output.stage, output.name) for output in outputs})
    if len(kinds) > 1:
        (run, stage, name), (other_run, other_stage, other_name) = kinds[:2]
        msg = (
            f"cannot merge {stage}.{name} of run {run} with {other_stage}.{other_name} of run {other_run}: "
            "plan each by itself"
        )
        raise LedgerError(msg)


def _require_usable(output: OutputRecord, *, first: int, last: int) -> None:
    if output.state is not OutputState.ACCEPTED:
        msg = f"{output.path} is {output.state}, not accepted: it cannot be merged"
        raise LedgerError(msg)
    if output.size < 0:
        msg = f"{output.path} has a size of {output.size} bytes"
        raise LedgerError(msg)
    if not first <= output.first_subrun <= output.last_subrun <= last:
        msg = f"{_span(output)}, but its slice has subruns {first}..{last}: {output.path}"
        raise LedgerError(msg)


def _span(output: OutputRecord) -> str:
    return f"run {output.run} subruns {output.first_subrun}..{output.last_subrun}"


def merge_units(groups: Iterable[MergeGroup]) -> tuple[Unit, ...]:
    """Return the units of a merge's submission: one a planned file."""
    return tuple(
        Unit(
            process=group.process,
            first_subrun=group.first_subrun,
            last_subrun=group.last_subrun,
            inputs=(("merge", group.inputs),),
        )
        for group in groups
    )
