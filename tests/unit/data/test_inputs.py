"""Which files each job reads."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.data.inputs import units_for
from include.errors import LedgerError, StorageError


def test_stage_without_inputs_has_a_unit_for_every_subrun(plan, stage):
    units, left_out = units_for(plan, stage, run=7, subruns=[4, 5, 9], accepted=None)
    assert [(unit.process, unit.first_subrun, unit.last_subrun) for unit in units] == [
        (0, 4, 4),
        (1, 5, 5),
        (2, 9, 9),
    ]
    assert (left_out, units[0].inputs) == ((), ())


def test_same_and_all_and_subruns_left_out(plan, stage, make_input, make_record):
    stage = replace(stage, inputs=(make_input("signal"), make_input("pileup", stage="minbias", select="all")))
    made = {"gen": [make_record(2), make_record(0)], "minbias": [make_record(9), make_record(8)]}
    asked = []

    def accepted(parent, output):
        asked.append((parent, output))
        return made[parent]

    units, left_out = units_for(plan, stage, run=7, subruns=[0, 1, 2], accepted=accepted)
    paths = [[path.rpartition("/")[2] for path in found] for unit in units for _, found in unit.inputs]
    assert paths == [["a_0.root"], ["a_8.root", "a_9.root"], ["a_2.root"], ["a_8.root", "a_9.root"]]
    assert [(unit.process, unit.first_subrun) for unit in units] == [(0, 0), (1, 2)]
    assert left_out == (1,)
    assert asked == [("gen", "default"), ("minbias", "default")]
    made["minbias"] = []
    assert units_for(plan, stage, run=7, subruns=[0, 1, 2], accepted=accepted) == ((), (0, 1, 2))


def there(_path):
    """Say that a file is there."""
    return True


def numbered(count):
    """Return a list of that many files."""
    return tuple(f"/list/{number}" for number in range(count))


def read(plan, stage, *, run, subruns):
    """Return the numbers of the files that each subrun reads from the stage's first input."""
    units, left_out = units_for(plan, stage, run=run, subruns=subruns, accepted=None, exists=there)
    assert left_out == ()
    return [[int(path.rpartition("/")[2]) for path in unit.inputs[0][1]] for unit in units]


def test_a_list_is_shared_out_over_all_runs(plan, stage, make_input):
    plan = replace(plan, first_run=100, last_run=199, subruns=3, first_subrun=5)
    stage = replace(stage, inputs=(make_input("raw", stage=None, files=numbered(11), per_job=2),))
    assert read(plan, stage, run=100, subruns=[5, 6, 7]) == [[0, 1], [2, 3], [4, 5]]
    # the last job takes what is left
    assert read(plan, stage, run=101, subruns=[5, 6, 7]) == [[6, 7], [8, 9], [10]]
    assert read(plan, stage, run=101, subruns=[6]) == [[8, 9]], "a recovery reads the same files"


def test_a_list_that_is_reused_wraps_round(plan, stage, make_input):
    given = make_input("pileup", stage=None, files=numbered(5), per_job=2, reuse=True)
    stage = replace(stage, inputs=(given,))
    assert read(plan, stage, run=7, subruns=range(4)) == [[0, 1], [2, 3], [4, 0], [1, 2]]
    assert read(plan, stage, run=8, subruns=[0, 3]) == [[3, 4], [4, 0]]
    few = replace(stage, inputs=(replace(given, per_job=9),))
    assert read(plan, few, run=7, subruns=[1]) == [[4, 0, 1, 2, 3]]


def test_past_the_end_of_a_list_nothing_is_submitted(plan, stage, make_input):
    stage = replace(stage, inputs=(make_input("raw", stage=None, files=numbered(12), per_job=2),))
    assert read(plan, stage, run=8, subruns=[0, 1]) == [[8, 9], [10, 11]]
    with pytest.raises(StorageError) as refused:
        read(plan, stage, run=8, subruns=range(4))
    assert str(refused.value) == (
        "stage mix, input raw, run 8: 2 of 4 subruns would have no file, so nothing is submitted. The list "
        "has 12 files; with 4 subruns a slice and 2 a job, slices that it feeds: 1, counted from run 7. Ask "
        "for no more; or add files at the end of the list, or set reuse: true if they may be read again, and "
        "start a new dag_run, as this one keeps the list it began with"
    )


@pytest.mark.parametrize(("run", "subrun"), [(6, 0), (7, -1), (7, 4)])
def test_a_subrun_without_a_place_in_the_list_is_refused(plan, stage, make_input, run, subrun):
    stage = replace(stage, inputs=(make_input("raw", stage=None, files=numbered(99)),))
    with pytest.raises(
        LedgerError, match=rf"run {run}, subrun {subrun} has no place in the list, .*0\.\.3 of"
    ):
        read(plan, stage, run=run, subruns=[subrun])


@st.composite
def campaigns(draw):
    """Return slices, subruns, first_subrun, per_job and a list's length; the last job has some file."""
    slices, subruns, per_job = draw(st.integers(1, 5)), draw(st.integers(1, 6)), draw(st.integers(1, 4))
    length = slices * subruns * per_job + draw(st.integers(1 - per_job, 10))
    return slices, subruns, draw(st.integers(0, 9)), per_job, length


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(campaign=campaigns(), data=st.data())
def test_every_file_is_read_once(plan, stage, make_input, campaign, data):
    slices, subruns, first_subrun, per_job, length = campaign
    plan = replace(plan, first_run=50, last_run=99, slices=slices, subruns=subruns, first_subrun=first_subrun)
    stage = replace(stage, inputs=(make_input("raw", stage=None, files=numbered(length), per_job=per_job),))
    every = range(first_subrun, first_subrun + subruns)
    jobs = {
        (run, subrun): files
        for run in range(50, 50 + slices)
        for subrun, files in zip(every, read(plan, stage, run=run, subruns=every), strict=True)
    }
    in_order = [number for files in jobs.values() for number in files]
    assert in_order == list(range(min(slices * subruns * per_job, length)))
    run, subrun = data.draw(st.sampled_from(sorted(jobs)))
    assert read(plan, stage, run=run, subruns=[subrun]) == [jobs[run, subrun]]


def test_missing_list_entries_are_refused(plan, stage, make_input, tmp_path):
    files = (str(tmp_path / "gone.root"), "root://door//pnfs/x.root")
    stage = replace(stage, inputs=(make_input("pileup", stage=None, files=files),))
    with pytest.raises(
        StorageError, match=r"stage mix: 1 files of its lists are not there: .*gone.root; bring them"
    ):
        units_for(plan, stage, run=7, subruns=[0, 1], accepted=None)
    assert units_for(plan, stage, run=7, subruns=[1], accepted=None)[0][0].inputs[0][1] == files[1:]
    units, left_out = units_for(plan, stage, run=7, subruns=[0, 1], accepted=None, lost_are_refused=False)
    assert [(unit.process, unit.first_subrun) for unit in units] == [(0, 1)]
    assert left_out == (0,)


def test_contradictions_are_refused(plan, stage, make_input, make_record):
    with pytest.raises(LedgerError, match="asked for twice"):
        units_for(plan, stage, run=7, subruns=[1, 1], accepted=None)
    stage = replace(stage, inputs=(make_input("signal"),))
    twice = [make_record(3), make_record(3, path="/other")]
    with pytest.raises(LedgerError, match="subrun 3 of gen has two accepted files"):
        units_for(plan, stage, run=7, subruns=[3], accepted=lambda *_: twice)
    stage = replace(stage, inputs=(make_input("pileup", stage=None),))
    with pytest.raises(StorageError, match="nothing to read"):
        units_for(plan, stage, run=7, subruns=[3], accepted=None)
