"""All campaigns of a folder: finding them, and what can only be seen by looking at several at once."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from include.campaign.reader import joined
from include.campaign.resolve import PLACE, SUFFIXES, LoadedPlan, load
from include.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.campaign.plan import CampaignPlan


def find_specs(specs: Path) -> list[Path]:
    """Return every campaign file SPECS/EXPERIMENT/*.yaml (or .yml), sorted; good or not.

    Hidden files are left out, and so are deeper folders: those are an experiment's own.
    """
    return sorted(
        path
        for folder in _visible(specs)
        if folder.is_dir()
        for path in _visible(folder)
        if path.suffix.lower() in SUFFIXES
    )


def check_all(specs: Path, area: str) -> list[tuple[Path, CampaignPlan | SpecError]]:
    """Load each campaign by itself, then look for clashes between them; a broken one never hides another.

    Campaigns of one experiment whose run ranges overlap are both refused, each naming the other's place. Only
    this function sees that: `load_plan` reads one file, so that a DAG costs the same whatever their number.
    """
    loaded: dict[Path, LoadedPlan | SpecError] = {
        path: _misplaced(path, specs) for path in _stray_files(specs)
    }
    for path in find_specs(specs):
        try:
            loaded[path] = load(path, specs=specs, area=area)
        except SpecError as error:
            loaded[path] = error
    clashes = _run_clashes([item for item in loaded.values() if isinstance(item, LoadedPlan)])
    return [
        (path, clashes.get(path, item.plan) if isinstance(item, LoadedPlan) else item)
        for path, item in sorted(loaded.items())
    ]


def _visible(folder: Path) -> Iterator[Path]:
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise SpecError(f"the folder cannot be read: {error.strerror}", file=str(folder)) from error
    return (path for path in entries if not path.name.startswith("."))


def _stray_files(specs: Path) -> list[Path]:
    return [path for path in _visible(specs) if path.suffix.lower() in SUFFIXES and not path.is_dir()]


def _misplaced(path: Path, specs: Path) -> SpecError:
    return SpecError("not at its place", file=str(path), hint=PLACE.format(specs))


def _run_clashes(campaigns: list[LoadedPlan]) -> dict[Path, SpecError]:
    """Return an error for each campaign whose run range overlaps another's of its experiment."""
    ordered = sorted(campaigns, key=lambda item: (item.plan.experiment, item.plan.first_run))
    found: dict[Path, SpecError] = {}
    for _, group in groupby(ordered, key=lambda item: item.plan.experiment):
        same = list(group)
        for mine in same:
            errors = [_clash(mine, other) for other in same if other is not mine and _overlap(mine, other)]
            if errors:
                found[mine.read.path] = joined(errors)
    return found


def _overlap(one: LoadedPlan, other: LoadedPlan) -> bool:
    return one.plan.first_run <= other.plan.last_run and other.plan.first_run <= one.plan.last_run


def _clash(mine: LoadedPlan, other: LoadedPlan) -> SpecError:
    place = other.read.tree.key_place(("runs",))
    return mine.read.error(
        f"runs {_runs(mine)} overlap runs {_runs(other)} of {other.plan.dag_id}"
        f" ({other.read.path}:{place.line}:{place.column})",
        ("runs",),
        hint="a run number is used once in an experiment, for ever",
        at_key=True,
    )


def _runs(item: LoadedPlan) -> str:
    return f"{item.plan.first_run}..{item.plan.last_run}"
