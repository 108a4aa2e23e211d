"""Cleanup removes what the ledger lists, records it first, and survives crashes and bad scripts."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from include.campaign.states import OutputState
from include.data.cleanup import BATCH, SCRIPT_OUTPUT, clean
from include.data.storage import PosixStorage
from include.errors import StorageError


class ListLedger:
    """The port's simplest true implementation: records and their states, kept in memory."""

    def __init__(self, outputs):
        self.states = {output: output.state for output in outputs}
        self.begun = []

    def removable(self, *, experiment, run, now, duplicates_after_s=None):  # noqa: ARG002
        return [
            output
            for output, state in self.states.items()
            if state is OutputState.ACCEPTED and output.run == run
        ]

    def accepted_outputs(self, *, experiment, run, stage):
        listed = self.removable(experiment=experiment, run=run, now=0.0)
        return [output for output in listed if output.stage == stage]

    def removing(self, *, experiment, run):  # noqa: ARG002
        return [
            output
            for output, state in self.states.items()
            if state is OutputState.REMOVING and output.run == run
        ]

    def begin_removal(self, outputs, *, experiment, now):  # noqa: ARG002
        assert all(Path(output.path).exists() for output in outputs), "the intent comes first"
        self.begun.append(len(outputs))
        self.states.update(dict.fromkeys(outputs, OutputState.REMOVING))

    def finish_removal(self, outputs, *, experiment, now):  # noqa: ARG002
        assert all(self.states[output] is OutputState.REMOVING for output in outputs)
        self.states.update(dict.fromkeys(outputs, OutputState.REMOVED))


@pytest.fixture
def outputs(plan, make_record):
    """Four files of the area, and one that the ledger does not list."""
    area = Path(plan.outstage)
    area.mkdir()
    records = [make_record(n) for n in range(4)]
    for record in records:
        Path(record.path).write_bytes(b"12345")
    (area / "precious.root").write_bytes(b"x")
    return records


def run(plan, ledger, **more):
    return clean(plan, run=7, ledger=ledger, storage=PosixStorage(), now=1.0, **more)


def left(plan):
    return sorted(path.name for path in Path(plan.outstage).iterdir())


def test_removes_what_is_listed_and_nothing_else(plan, outputs):
    ledger = ListLedger(outputs)
    result = run(plan, ledger)
    assert (result.removed, result.bytes, result.gone, result.refused, result.good) == (4, 20, 0, (), True)
    assert left(plan) == ["precious.root"]
    assert set(ledger.states.values()) == {OutputState.REMOVED}
    assert run(plan, ledger).removed == 0


def test_intent_is_recorded_batch_by_batch(plan, make_record):
    Path(plan.outstage).mkdir()
    records = [make_record(n) for n in range(BATCH + 1)]
    for record in records:
        Path(record.path).write_bytes(b"12345")
    ledger = ListLedger(records)
    assert run(plan, ledger).removed == BATCH + 1
    assert ledger.begun == [BATCH, 1]


def test_after_a_crash_what_was_begun_is_finished(plan, outputs):
    begun = [replace(output, state=OutputState.REMOVING) for output in outputs[:2]]
    Path(begun[0].path).unlink()
    ledger = ListLedger(begun)
    result = run(plan, ledger)
    assert (result.removed, result.gone) == (1, 1)
    assert set(ledger.states.values()) == {OutputState.REMOVED}


def test_an_area_that_is_not_mounted_leaves_everything_removing(plan, outputs):
    begun = [replace(output, state=OutputState.REMOVING) for output in outputs]
    Path(plan.outstage).rename(plan.outstage + ".unmounted")
    ledger = ListLedger(begun)
    result = run(plan, ledger)
    assert (result.gone, result.good, len(result.refused)) == (0, False, 4)
    assert "is it mounted" in result.refused[0]
    assert set(ledger.states.values()) == {OutputState.REMOVING}


def test_refuses_paths_outside_and_files_that_changed(plan, outputs, tmp_path):
    outside = replace(outputs[0], path=str(tmp_path / "elsewhere.root"))
    Path(outside.path).write_bytes(b"12345")
    Path(outputs[1].path).write_bytes(b"another file")
    ledger = ListLedger([outside, *outputs[1:]])
    result = run(plan, ledger)
    assert result.removed == 2
    assert [text.rpartition("/")[2][:30] for text in result.refused] == [
        "outstage",
        "a_1.root: 12 bytes, not 5 as i",
    ]
    assert Path(outside.path).exists()
    assert ledger.states[outside] is OutputState.ACCEPTED


def script(plan, tmp_path, text):
    path = tmp_path / "clean up.py"
    path.write_text(f"#!/usr/bin/env python3\n{text}\n")
    path.chmod(0o755)
    return replace(plan, cleanup_script=str(path))


def test_script_gets_the_list_and_may_remove(plan, outputs, tmp_path):
    got = tmp_path / "got.json"
    plan = script(
        plan,
        tmp_path,
        f"import json, os, sys\nd = json.load(sys.stdin)\njson.dump(d, open({str(got)!r}, 'w'))\n"
        "os.remove(d['removable'][0]['path'])\nprint('copied', len(d['removable']))",
    )
    result = run(plan, ListLedger(outputs))
    assert (result.removed, result.gone, result.good) == (3, 1, True)
    assert result.script is not None
    assert (result.script.exit_code, result.script.output) == (0, "copied 4\n")
    document = json.loads(got.read_text())
    assert (document["campaign"], document["run"]) == ("demo.z", 7)
    assert document["removable"][0] == {
        "path": outputs[0].path,
        "size": 5,
        "stage": "mix",
        "first_subrun": 0,
        "last_subrun": 0,
    }


def test_script_that_fails_stops_removal_and_is_called_again(plan, outputs, tmp_path):
    ledger = ListLedger(outputs)
    bad = script(plan, tmp_path, "import sys\nsys.exit('the catalogue is down')")
    result = run(bad, ledger)
    assert (result.removed, result.good) == (0, False)
    assert result.script is not None
    assert (result.script.exit_code, result.script.output) == (1, "the catalogue is down\n")
    assert set(ledger.states.values()) == {OutputState.REMOVING}
    assert len(left(plan)) == 5
    good = run(script(plan, tmp_path, "pass"), ledger)
    assert (good.removed, good.good) == (4, True)


def test_script_that_hangs_is_killed_with_its_children(plan, outputs, tmp_path):
    child = tmp_path / "child"
    plan = script(
        plan,
        tmp_path,
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen(['sleep', '600'])\nopen({str(child)!r}, 'w').write(str(p.pid))\n"
        "print('waiting', flush=True)\ntime.sleep(600)",
    )
    result = run(plan, ListLedger(outputs), script_timeout_s=6)
    assert result.script is not None
    assert result.script.exit_code is None
    assert result.script.output.startswith("waiting\n")
    assert "did not end within 6 s and was killed" in result.script.output
    state, deadline = Path("/proc") / child.read_text() / "stat", time.monotonic() + 10
    # A killed child may stay a zombie where nobody reaps orphans.
    while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline, "the script's child is still running"


def test_script_output_is_bounded_and_a_script_that_cannot_start_is_said(plan, outputs, tmp_path):
    plan = script(plan, tmp_path, "print('x' * 100_000)\nprint('the end')\nraise SystemExit(3)")
    result = run(plan, ListLedger(outputs))
    assert result.script is not None
    assert len(result.script.output) < SCRIPT_OUTPUT + 50
    assert result.script.output.endswith("the end\n")
    (tmp_path / "clean up.py").chmod(0o644)
    ended = run(plan, ListLedger(outputs)).script
    assert ended is not None
    assert "cannot start" in ended.output
    assert "make it executable" in ended.output


def test_storage_trouble_is_told_file_by_file(plan, outputs):
    class Broken(PosixStorage):
        def stat(self, path):
            raise StorageError(f"cannot look at {path}: Input/output error")

    result = clean(plan, run=7, ledger=ListLedger(outputs), storage=Broken(), now=1.0)
    assert (result.removed, len(result.refused)) == (0, 4)
