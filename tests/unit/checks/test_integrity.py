"""What damaged, wrong and missing files lead to; every file is a real one."""

from __future__ import annotations

import gc
import random
from dataclasses import replace

import pytest

from include.campaign.states import Outcome, SubrunState
from include.checks.content import Content
from include.checks.integrity import checksums
from include.checks.rootfiles import look_into


def problem_in(path, wanted):
    """Return what is wrong with a file."""
    return look_into(path, wanted).problem


def made(site, **more):
    """Execute process 0 and return its file."""
    return next((site.outstage / site.execute(0, **more)).glob("*.root"))


def decision(site, **more):
    verdict = site.judge(**more).units[0].verdicts[-1]
    return verdict.check, verdict.outcome, verdict.reason


def test_file_gone(make_site):
    site = make_site()
    file = made(site)
    file.unlink()
    assert decision(site) == ("outputs", Outcome.FAILED, f"file not on the outstage: {file}")


def test_link_is_no_output(make_site, tmp_path):
    site = make_site()
    file = made(site)
    file.rename(tmp_path / "elsewhere.root")
    file.symlink_to(tmp_path / "elsewhere.root")
    assert decision(site) == ("outputs", Outcome.FAILED, f"not a regular file: {file}")


def test_size(make_site):
    site = make_site()
    file = made(site)
    size = file.stat().st_size
    file.write_bytes(file.read_bytes()[:-1])
    assert decision(site) == (
        "size",
        Outcome.FAILED,
        f"wrong size: {size - 1} bytes, the job reported {size}",
    )


def test_checksum_finds_one_flipped_bit(make_site):
    site = make_site()
    file = made(site)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    check, outcome, reason = decision(site)
    assert (check, outcome) == ("checksum", Outcome.FAILED)
    assert reason.startswith("wrong sha256: ")


def test_checksums_agree_with_the_tools(tmp_path):
    file = tmp_path / "abc"
    file.write_bytes(b"abc")
    sha = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert checksums(str(file)) == (sha, "024d0127")


@pytest.mark.parametrize(
    ("subruns", "events", "check", "reason"),
    [
        ([0] * 19, None, "root", "wrong number of entries: 19, expected 20"),
        ([0] * 19, 19, "outputs", "wrong number of events: the job reported 19, expected 20"),
        ([0] * 17 + [4] * 3, 20, "root", "wrong subrun: 3 entries of subrun 4, expected 0..0"),
    ],
)
def test_wrong_content(make_site, seal, subruns, events, check, reason):
    site = make_site()
    site.execute(0, subruns=subruns)
    execution = "41.0.1-00000000"
    (file,) = (site.outstage / execution).glob("*.root")
    document = site.document(0, execution=execution, files=[file])
    document["outputs"][0]["events"] = events
    (site.logs / execution / "report.json").write_bytes(seal(document))
    assert decision(site) == (check, Outcome.FAILED, reason)


def told(site, seal, events, **more):
    """Execute process 0, which reports `events`."""
    execution = site.execute(0, **more)
    (file,) = (site.outstage / execution).glob("*.root")
    document = site.document(0, execution=execution, files=[file])
    document["outputs"][0]["events"] = events
    (site.logs / execution / "report.json").write_bytes(seal(document))


def test_wrong_events_of_a_file_without_a_tree(make_site, seal):
    output = replace(make_site().stage.outputs[0], tree=None)
    site = make_site(outputs=(output,), checks=("exit", "outputs"))
    told(site, seal, 19)
    reason = "wrong number of events: the job reported 19, expected 20"
    assert decision(site) == ("outputs", Outcome.FAILED, reason)


def test_events_that_nobody_told_of_a_file_without_a_tree_are_not_required(make_site, seal):
    output = replace(make_site().stage.outputs[0], tree=None)
    site = make_site(outputs=(output,), checks=("exit", "outputs"))
    told(site, seal, None)
    judgement = site.judge()
    assert judgement.units[0].state is SubrunState.ACCEPTED
    assert judgement.outputs[0].events is None


def test_entries_stand_in_for_events_that_the_job_did_not_tell(make_site, seal):
    output = replace(make_site().stage.outputs[0], events=None)
    site = make_site(outputs=(output,))
    told(site, seal, None, subruns=[0] * 13)
    judgement = site.judge()
    assert judgement.units[0].state is SubrunState.ACCEPTED
    assert judgement.outputs[0].events == 13


def test_a_job_that_reports_other_events_than_the_tree_has(make_site, seal):
    output = replace(make_site().stage.outputs[0], events=None)
    site = make_site(outputs=(output,))
    told(site, seal, 15, subruns=[0] * 13)
    reason = "wrong number of entries: 13, the job reported 15"
    assert decision(site) == ("root", Outcome.FAILED, reason)


@pytest.fixture
def wanted():
    """Return what a tree of 20 entries of run 7, subruns 2..3 must hold."""
    return Content(
        tree="events", entries=20, run=7, first_subrun=2, last_subrun=3, complete=None, ordered=False
    )


def test_good_file_has_no_problem(tmp_path, write_root, wanted):
    write_root(tmp_path / "a.root", run=7, subrun=[3] * 10 + [2] * 10)
    assert problem_in(str(tmp_path / "a.root"), wanted) == ""


def test_missing_tree_names_what_is_there(tmp_path, write_root, wanted):
    write_root(tmp_path / "a.root", run=7, subrun=[2] * 20, tree="Events")
    assert problem_in(str(tmp_path / "a.root"), wanted) == "tree missing: no 'events' in it, only Events"


def test_wrong_run(tmp_path, write_root, wanted):
    write_root(tmp_path / "a.root", run=[7] * 19 + [8], subrun=[2] * 20)
    assert (
        problem_in(str(tmp_path / "a.root"), wanted) == "wrong run: 1 entries of run 8, expected only run 7"
    )


def test_empty_tree(tmp_path, write_root, wanted):
    write_root(tmp_path / "a.root", run=7, subrun=[])
    problem = problem_in(str(tmp_path / "a.root"), replace(wanted, entries=None))
    assert problem == "wrong number of entries: 0, expected at least 1"


def test_histogram_under_the_name_of_the_tree(tmp_path, wanted):
    import numpy as np
    import uproot

    with uproot.recreate(tmp_path / "a.root") as file:
        file["events"] = np.histogram([1.0, 2.0])
    assert problem_in(str(tmp_path / "a.root"), wanted).startswith("tree missing: 'events' is a TH1")


def test_name_with_colon_and_space(tmp_path, write_root, wanted):
    write_root(tmp_path / "a b:events.root", run=7, subrun=[2] * 20)
    assert problem_in(str(tmp_path / "a b:events.root"), wanted) == ""


def test_text_file_is_no_root_file(tmp_path, wanted):
    (tmp_path / "a.root").write_text("<html>404</html>")
    assert problem_in(str(tmp_path / "a.root"), wanted) == "not a ROOT file: it begins with b'<htm'"


def test_no_file_raises(tmp_path, wanted):
    with pytest.raises(FileNotFoundError):
        problem_in(str(tmp_path / "a.root"), wanted)


@pytest.fixture
def no_collection():
    """Collect no garbage meanwhile.

    Damaged bytes take uproot to the limit of recursion, where no finaliser of any object can run.
    """
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
def test_damaged_files_never_crash_and_cut_ones_never_pass(tmp_path, write_root, wanted):
    write_root(tmp_path / "a.root", run=7, subrun=[2] * 20)
    content = (tmp_path / "a.root").read_bytes()
    dice = random.Random(1)
    for _ in range(60):
        cut = content[: dice.randrange(4, len(content))]
        (tmp_path / "b.root").write_bytes(cut)
        assert problem_in(str(tmp_path / "b.root"), wanted)
        damaged = bytearray(content)
        for _ in range(20):
            damaged[dice.randrange(4, len(damaged))] = dice.randrange(256)
        (tmp_path / "c.root").write_bytes(damaged)
        assert isinstance(problem_in(str(tmp_path / "c.root"), wanted), str)


def merged(make_merge, made, *, subruns=(0, 1, 2), counts=None, events=None, seal):
    """Judge a merge of `subruns` whose file has the subruns `made`; returns the deciding verdict."""
    site, sources = make_merge(list(subruns), counts=counts)
    execution = site.execute(0, subruns=made)
    (file,) = (site.outstage / execution).glob("*.root")
    document = site.document(0, execution=execution, files=[file])
    document["outputs"][0]["events"] = events
    (site.logs / execution / "report.json").write_bytes(seal(document))
    return site.judge(sources=sources).units[0]


def test_good_merge(make_merge, seal):
    assert merged(make_merge, [0] * 20 + [1] * 20 + [2] * 20, seal=seal).state is SubrunState.ACCEPTED


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        ([0] * 20 + [1] * 20, "wrong number of entries: 40, expected 60"),
        ([0] * 20 + [2] * 20 + [1] * 20, "subruns out of order: they fall at entry 40"),
        ([0] * 20 + [2] * 40, "subruns missing inside: 1"),
        ([0] * 20 + [1] * 20 + [5] * 20, "wrong subrun: 20 entries of subrun 5, expected 0..2"),
    ],
)
def test_bad_merge(make_merge, seal, made, reason):
    unit = merged(make_merge, made, seal=seal)
    assert (unit.verdicts[-1].reason, unit.state) == (reason, SubrunState.MISSING)


def test_merge_of_inputs_without_events(make_merge, seal):
    empty = merged(make_merge, [0] * 20 + [2] * 20, counts=[20, 0, 20], seal=seal)
    assert empty.state is SubrunState.ACCEPTED


def test_merge_of_inputs_whose_events_nobody_counted_is_not_accepted(make_merge, seal):
    uncounted = merged(make_merge, [0] * 20 + [1] * 6 + [2] * 7, counts=[20, None, None], seal=seal)
    assert uncounted.state is SubrunState.UNKNOWN
    verdict = uncounted.verdicts[-1]
    assert (verdict.check, verdict.evidence) == ("root", "/in/1.root")
    assert verdict.reason == "sum of the inputs' events not known: 2 of 3 have no count in the ledger"


def test_bad_merge_is_failed_also_where_the_sum_is_not_known(make_merge, seal):
    unit = merged(make_merge, [0] * 5 + [2] * 5, counts=[None] * 3, seal=seal)
    assert (unit.verdicts[-1].reason, unit.state) == ("subruns missing inside: 1", SubrunState.MISSING)


@pytest.mark.parametrize(
    ("counts", "state"),
    [([None, 20], SubrunState.ACCEPTED), ([20, 20], SubrunState.MISSING)],
)
def test_merge_of_files_without_a_tree(make_merge, seal, counts, state):
    site, sources = make_merge([0, 1], counts=counts)
    output = replace(site.stage.outputs[0], tree=None)
    site.stage = replace(site.stage, outputs=(output,), checks=("exit", "outputs"))
    told(site, seal, 39)
    assert site.judge(sources=sources).units[0].state is state


def test_what_a_merge_counted_is_recorded(make_merge, seal):
    site, sources = make_merge([0, 1])
    told(site, seal, None, subruns=[0] * 20 + [1] * 20)
    assert site.judge(sources=sources).outputs[0].events == 40


def test_merge_whose_inputs_the_ledger_does_not_know_is_unknown(make_merge, seal):
    site, sources = make_merge([0, 1])
    told(site, seal, 40, subruns=[0] * 20 + [1] * 20)
    unit = site.judge(sources=sources[:1]).units[0]
    assert unit.state is SubrunState.UNKNOWN
    assert unit.verdicts[-1].reason.startswith("inputs not in the ledger: 1 of the merged files")
