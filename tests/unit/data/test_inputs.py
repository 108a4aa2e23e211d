"""Which files each job reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from include.data.inputs import units_for
from include.errors import LedgerError, StorageError


def test_stage_without_inputs_has_a_unit_for_every_subrun(stage):
    units, left_out = units_for(stage, subruns=[4, 5, 9], accepted=None)
    assert [(unit.process, unit.first_subrun, unit.last_subrun) for unit in units] == [
        (0, 4, 4),
        (1, 5, 5),
        (2, 9, 9),
    ]
    assert (left_out, units[0].inputs) == ((), ())


def test_same_and_all_and_subruns_left_out(stage, make_input, make_record):
    stage = replace(stage, inputs=(make_input("signal"), make_input("pileup", stage="minbias", select="all")))
    made = {"gen": [make_record(2), make_record(0)], "minbias": [make_record(9), make_record(8)]}
    asked = []

    def accepted(parent, output):
        asked.append((parent, output))
        return made[parent]

    units, left_out = units_for(stage, subruns=[0, 1, 2], accepted=accepted)
    paths = [[path.rpartition("/")[2] for path in found] for unit in units for _, found in unit.inputs]
    assert paths == [["a_0.root"], ["a_8.root", "a_9.root"], ["a_2.root"], ["a_8.root", "a_9.root"]]
    assert [(unit.process, unit.first_subrun) for unit in units] == [(0, 0), (1, 2)]
    assert left_out == (1,)
    assert asked == [("gen", "default"), ("minbias", "default")]
    made["minbias"] = []
    assert units_for(stage, subruns=[0, 1, 2], accepted=accepted) == ((), (0, 1, 2))


def test_file_list_goes_by_subrun_and_wraps(stage, make_input, tmp_path):
    files = tuple(str(tmp_path / f"{n}.root") for n in range(5))
    for file in files:
        (tmp_path / file).write_bytes(b"x")
    stage = replace(stage, inputs=(make_input("pileup", stage=None, files=files, per_job=2),))
    units, _ = units_for(stage, subruns=range(4), accepted=None)
    numbers = [[files.index(path) for path in unit.inputs[0][1]] for unit in units]
    assert numbers == [[0, 1], [2, 3], [4, 0], [1, 2]]
    recovery, _ = units_for(stage, subruns=[3], accepted=None)
    assert recovery[0].inputs == units[3].inputs
    few = replace(stage, inputs=(replace(stage.inputs[0], per_job=9),))
    assert len(units_for(few, subruns=[0], accepted=None)[0][0].inputs[0][1]) == 5


def test_missing_list_entries_are_refused(stage, make_input, tmp_path):
    files = (str(tmp_path / "gone.root"), "root://door//pnfs/x.root")
    stage = replace(stage, inputs=(make_input("pileup", stage=None, files=files),))
    with pytest.raises(
        StorageError, match=r"stage mix: 1 files of its lists are not there: .*gone.root; mend"
    ):
        units_for(stage, subruns=[0, 1], accepted=None)
    assert units_for(stage, subruns=[1], accepted=None)[0][0].inputs[0][1] == files[1:]


def test_contradictions_are_refused(stage, make_input, make_record):
    with pytest.raises(LedgerError, match="asked for twice"):
        units_for(stage, subruns=[1, 1], accepted=None)
    stage = replace(stage, inputs=(make_input("signal"),))
    twice = [make_record(3), make_record(3, path="/other")]
    with pytest.raises(LedgerError, match="subrun 3 of gen has two accepted files"):
        units_for(stage, subruns=[3], accepted=lambda *_: twice)
    stage = replace(stage, inputs=(make_input("pileup", stage=None),))
    with pytest.raises(StorageError, match="nothing to read"):
        units_for(stage, subruns=[3], accepted=None)
