"""HDF5 files: opened, and their tables compared as ROOT files' trees are."""

from __future__ import annotations

import os
import random
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

from include.campaign.plan import OutputPlan
from include.campaign.states import Outcome, SubrunState
from include.checks.content import Content
from include.checks.hdf5files import look_into

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WANTED = Content(
    tree="events", entries=20, run=7, first_subrun=2, last_subrun=3, complete=None, ordered=False
)


def write(path: Path, *, run: Any = 7, subrun: Any = (2,) * 20, form: str = "group") -> None:
    """Write a table in one of the forms that programs write."""
    subruns = np.asarray(subrun, dtype="u4")
    runs = np.broadcast_to(np.asarray(run, dtype="u4"), subruns.shape)
    with h5py.File(path, "w", libver="latest") as file:
        if form == "compound":
            table = np.zeros(len(subruns), dtype=[("run", "u4"), ("subrun", "u4"), ("x", "f8")])
            table["run"], table["subrun"] = runs, subruns
            file["events"] = table
            return
        group = file.create_group("events")
        for name, values in (("run", runs), ("subrun", subruns), ("x", np.sqrt(subruns))):
            group[name] = values.reshape(-1, 1) if form == "columns of one" else values


def problem(path: Path, **changes: Any) -> str:
    return look_into(str(path), replace(WANTED, **changes)).problem


@pytest.mark.parametrize("form", ["group", "compound", "columns of one"])
def test_each_form_of_a_table(tmp_path: Path, form: str) -> None:
    path = tmp_path / "x.h5"
    write(path, subrun=[3] * 10 + [2] * 10, form=form)
    found = look_into(str(path), WANTED)
    assert (found.problem, found.entries) == ("", 20)
    assert problem(path, ordered=True) == "subruns out of order: they fall at entry 10"
    assert problem(path, entries=21) == "wrong number of entries: 20, expected 21"
    assert problem(path, run=8) == "wrong run: 20 entries of run 7, expected only run 8"
    assert problem(path, first_subrun=3) == "wrong subrun: 10 entries of subrun 2, expected 3..3"
    assert problem(path, complete=frozenset({2, 3, 4})) == "subruns missing inside: 4"


def test_links_to_other_files_are_not_followed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = tmp_path / "x.h5"
    write(path, run=7)
    with h5py.File(path, "a") as file:
        file["out"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/events")
        file["events/more"] = h5py.ExternalLink(str(tmp_path / "pipe"), "/x")
    assert problem(path) == ""
    assert problem(path, tree="out") == "tree missing: 'out' is a link to another file"
    assert problem(path, tree="out/events") == "tree missing: 'out/events' is a link to another file"


def test_what_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_group("empty")
        file["uneven/a"], file["uneven/b"] = np.zeros(3), np.zeros(4)
        file["number"] = 5
        file["gone"] = h5py.SoftLink("/nowhere")
        file["elsewhere"] = h5py.ExternalLink("/etc/passwd", "/x")
    assert problem(path).startswith("tree missing: no 'events' in it, only elsewhere, empty, gone")
    assert problem(path, tree="empty") == "tree missing: 'empty' is no table, it has no column"
    assert "it has columns of 3, 4 entries" in problem(path, tree="uneven")
    for name in ("number", "gone", "elsewhere"):
        assert problem(path, tree=name), name
    assert look_into(str(path), None).problem == ""


def test_damaged_files_never_crash_and_cut_ones_never_pass(tmp_path: Path) -> None:
    path, bad = tmp_path / "x.h5", tmp_path / "bad.h5"
    write(path)
    whole, dice = path.read_bytes(), random.Random(1)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(dice.randrange(1, 20)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        bad.write_bytes(data)
        assert isinstance(problem(bad), str)
    for size in range(0, len(whole), 97):
        bad.write_bytes(whole[:size])
        assert problem(bad), size


def test_no_file_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        look_into(str(tmp_path / "none.h5"), WANTED)


def site_with(make_site: Callable[..., Any], *, tree: str | None) -> Any:
    output = OutputPlan(
        name="default", file_name="a.{run:06d}_{subrun:08d}.h5", tree=tree, events=None, keep="forever"
    )
    return make_site(outputs=(output,), checks=("exit", "outputs", "size", "checksum", "root", "hdf5"))


def test_a_job_that_makes_hdf5(make_site: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "good.h5", run=1000, subrun=[0] * 20)
    site = site_with(make_site, tree="events")
    execution = site.execute(0, file=(tmp_path / "good.h5").read_bytes())
    judgement = site.judge()
    (unit,) = judgement.units
    assert unit.state is SubrunState.ACCEPTED
    assert unit.counted == (((execution, "default"), 20),)
    assert [verdict.check for verdict in unit.verdicts][-1] == "hdf5"


def test_a_job_whose_hdf5_holds_another_subrun(make_site: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "bad.h5", run=1000, subrun=[5] * 20)
    site = site_with(make_site, tree="events")
    site.execute(0, file=(tmp_path / "bad.h5").read_bytes())
    (unit,) = site.judge().units
    last = unit.verdicts[-1]
    assert (last.check, last.outcome) == ("hdf5", Outcome.FAILED)
    assert last.reason == "wrong subrun: 20 entries of subrun 5, expected 0..0"
