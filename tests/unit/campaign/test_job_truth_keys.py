# ruff: noqa: E501 - one case a line
"""The keys on recovery, nodes, holds and checks: what they become in the plan, and how wrong ones are refused."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from include.campaign.plan import CampaignPlan, NodePlan, RecoveryPlan, UserCheckPlan
from include.campaign.spec import BASE_CHECKS

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

GOOD = """\
version: 1
runs: {first: 1000, last: 1999}
subruns: 8
defaults:
  memory: 1 GB
stages:
  gen:
    script: gen.sh
    output: "dts.{run:06d}_{subrun:08d}.root"
    tree: events
  reco:
    script: gen.sh
    inputs: {signal: gen}
    output: "mcs.{run:06d}_{subrun:08d}.root"
    tree: events
merge:
  reco:
    output: "merged.{run:06d}_{subrun:08d}.root"
"""


def gen(keys: str) -> str:
    """Return the good campaign with one more line in the stage gen (line 9)."""
    return GOOD.replace("    script: gen.sh\n    output", f"    script: gen.sh\n    {keys}\n    output", 1)


def top(keys: str) -> str:
    """Return the good campaign with one more line in place of `defaults` (line 4)."""
    return GOOD.replace("defaults:\n  memory: 1 GB\n", f"{keys}\n")


def test_nothing_said_is_the_default(specs: Specs) -> None:
    plan = specs.load(GOOD)
    for stage in plan.stages:
        assert (stage.recovery, stage.node, stage.hold_pause_s) == (RecoveryPlan(), None, 60)
        assert (stage.user_checks, stage.check_settings) == ((), ())
    assert plan.campaign_checks == ()


def test_recovery_is_put_together_key_by_key(specs: Specs) -> None:
    text = top(
        "defaults: {hold_pause: 0 s, recovery: {attempts: 5, then: fail, max_memory: 8 GB, max_lifetime: 1 d}}"
    )
    text = text.replace(
        "    inputs:",
        "    recovery: {attempts: 0, max_memory: 4.5 GB, max_disk: 20 GB, releases: 7}\n    inputs:",
    )
    plan = specs.load(text)
    assert plan.stage("gen").recovery == RecoveryPlan(
        attempts=5, then="fail", max_memory_mb=8192, max_lifetime_s=86400
    )
    assert plan.stage("reco").recovery == RecoveryPlan(
        attempts=0, then="fail", max_memory_mb=4608, max_disk_kb=20 * 2**20, max_lifetime_s=86400, releases=7
    )
    assert plan.stage("merge_reco").recovery == plan.stage("gen").recovery
    assert plan.stage("gen").hold_pause_s == 0


def test_node(specs: Specs) -> None:
    text = top(
        "defaults: {node: {cvmfs: {mu2e.opensciencegrid.org: any, sft.cern.ch: 12345}, scratch: 3 GB}}"
    )
    text = text.replace("    inputs:", "    node: {scratch: null, guard: 1 s}\n    inputs:")
    plan = specs.load(text)
    cvmfs = (("mu2e.opensciencegrid.org", 0), ("sft.cern.ch", 12345))
    assert plan.stage("gen").node == NodePlan(cvmfs=cvmfs, scratch_mb=3072, guard_s=180)
    assert plan.stage("reco").node == NodePlan(cvmfs=cvmfs, scratch_mb=None, guard_s=1)


def test_own_checks_and_settings(specs: Specs) -> None:
    specs.script("check.py")
    text = top(
        "checks:\n  size: false\n"
        "  yields: {script: check.py, arguments: ['{run}', '{process}', '{campaign}'], timeout: 2 min}\n"
        "  whole: {entry: 'my.checks:whole', scope: campaign}\n"
        "  off: {entry: 'm:f', on: false}\n"
    ).replace(
        "    inputs:",
        "    checks: {yields: false, off: true, size: true, spectrum: {entry: 'm:g', scope: stage, arguments: ['{run:06d}']}}\n    inputs:",
    )
    plan = specs.load(text)
    yields = UserCheckPlan(
        name="yields", scope="job", script=str(specs.folder / "check.py"), entry="",
        arguments=("{run}", "{process}", "z"), timeout_s=120,
    )  # fmt: skip
    off = UserCheckPlan(name="off", scope="job", script="", entry="m:f", arguments=(), timeout_s=300)
    spectrum = UserCheckPlan(
        name="spectrum", scope="stage", script="", entry="m:g", arguments=("{run:06d}",), timeout_s=300
    )
    assert plan.stage("gen").user_checks == plan.stage("merge_reco").user_checks == (yields,)
    assert plan.stage("reco").user_checks == (off, spectrum)
    assert [(check.name, check.scope) for check in plan.campaign_checks] == [("whole", "campaign")]
    assert "size" not in plan.stage("gen").checks
    assert "size" in plan.stage("reco").checks
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_settings_of_the_campaign_and_the_stage(specs: Specs) -> None:
    text = top("checks: {usage: {wall_factor: 3.0}, status: {success: 'Art has completed', on: false}}")
    text = text.replace("    inputs:", "    checks: {usage: {memory_factor: 2.5}, status: true}\n    inputs:")
    plan = specs.load(text)
    status = ("status", (("success", "Art has completed"),))
    assert plan.stage("gen").check_settings == (("usage", (("wall_factor", 3.0),)), status)
    assert plan.stage("reco").check_settings == (
        ("usage", (("wall_factor", 3.0), ("memory_factor", 2.5))),
        status,
    )
    assert "status" not in plan.stage("gen").checks
    assert "status" in plan.stage("reco").checks
    assert CampaignPlan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


def test_what_must_be_asked_for_or_has_nothing_to_look_at_is_off(specs: Specs) -> None:
    text = GOOD.replace(
        '"dts.{run:06d}_{subrun:08d}.root"\n    tree: events', '"dts.{run:06d}_{subrun:08d}.h5"'
    )
    plan = specs.load(text)
    always = tuple(name for name in BASE_CHECKS if name not in ("root", "hdf5", "status", "manifest"))
    assert set(plan.stage("gen").checks) == {*always, "hdf5"}
    assert set(plan.stage("reco").checks) == {*always, "root"}


def test_a_table_of_an_hdf5_file_is_no_tree_and_hadd_does_not_merge_it(specs: Specs) -> None:
    text = GOOD.replace('"dts.{run:06d}_{subrun:08d}.root"', '"dts.{run:06d}_{subrun:08d}.h5"')
    plan = specs.load(text)
    assert ("hdf5" in plan.stage("gen").checks, "root" in plan.stage("gen").checks) == (True, False)
    assert plan.stage("gen").outputs[0].tree == "events"
    (error,) = specs.errors(text.replace("merge:\n  reco:", "merge:\n  gen:"))
    assert "hadd merges ROOT files, and 'gen' makes HDF5 files (use method: command)" in error


WRONG = [
    (gen("recovery: {attemps: 1}"), "9:16: unknown key 'attemps' in stages.gen.recovery (did you mean 'attempts'?)"),
    (gen("recovery: {attempts: 11}"), "9:26: stages.gen.recovery.attempts must be at most 10, not 11"),
    (gen("recovery: {attempts: -1}"), "9:26: stages.gen.recovery.attempts must be at least 0, not -1"),
    (gen("recovery: {then: aks}"), "9:22: stages.gen.recovery.then cannot be 'aks' (did you mean 'ask'?)"),
    (gen("recovery: {releases: 21}"), "9:26: stages.gen.recovery.releases must be at most 20, not 21"),
    (gen("recovery: {attempts: true}"), "9:26: stages.gen.recovery.attempts must be a whole number, not true"),
    (gen("recovery: {attempts: null}"), "9:26: stages.gen.recovery.attempts has no value (give it one, or remove the key)"),
    (gen("recovery: {max_memory: 1000 MB}"), "9:28: max_memory is less than the memory that gen asks for (leave it out for twice the stage's own memory, or raise it)"),
    (gen("recovery: {max_disk: 1 GB}"), "9:26: max_disk is less than the disk that gen asks for (leave it out for twice the stage's own disk, or raise it)"),
    (gen("recovery: 3"), "9:15: stages.gen.recovery must be a mapping of keys to values, not 3"),
    (gen("hold_pause: 60"), "9:17: stages.gen.hold_pause: 60 has no unit: write a time such as '8 h', units s, min, h, d"),
    (gen("node: {cvmfs: {a/b: any}}"), "9:20: stages.gen.node.cvmfs.a/b: 'a/b' is not the name of a CVMFS repository: use letters, digits, '.' and '-', such as mu2e.opensciencegrid.org"),
    (gen("node: {cvmfs: {a..b: any}}"), "9:20: stages.gen.node.cvmfs.a..b: 'a..b' is not the name of a CVMFS repository: use letters, digits, '.' and '-', such as mu2e.opensciencegrid.org"),
    (gen("node: {cvmfs: {a.org: 0}}"), "9:27: stages.gen.node.cvmfs.a.org: must be a whole number of at least 1, or 'any', not 0"),
    (gen("node: {guard: 0 s}"), "9:19: stages.gen.node.guard must be at least 1, not '0 s'"),
    (gen("node: {cvmsf: {}}"), "9:12: unknown key 'cvmsf' in stages.gen.node (did you mean 'cvmfs'?)"),
    (gen("memory: 2000 TB"), "9:13: stages.gen.memory: '2000 TB' is more than 1 PB (1024 TB)"),
    (gen("lifetime: 400 d"), "9:15: stages.gen.lifetime: '400 d' is longer than a year (366 d)"),
    (gen("checks: {exit: {wall_factor: 3.0}}"), "9:21: prodsys's check 'exit' has no 'wall_factor' (it is switched with true or false)"),
    (gen("checks: {usage: {success: abcd}}"), "9:22: prodsys's check 'usage' has no 'success' (it has wall_factor and memory_factor)"),
    (gen("checks: {usage: {wall_factr: 3.0}}"), "9:22: unknown key 'wall_factr' in stages.gen.checks.usage (did you mean 'wall_factor'?)"),
    (gen("checks: {usage: {wall_factor: 1.0}}"), "9:35: stages.gen.checks.usage.wall_factor must be more than 1.0, not 1.0"),
    (gen("checks: {exit: {script: gen.sh}}"), "9:21: prodsys's check 'exit' has no 'script' (a check of your own needs a name of its own)"),
    (gen("checks: {mine: true}"), "9:14: there is no check 'mine' (one of: exit, outputs, size, checksum, root, hdf5, manifest, status, usage)"),
    (gen("checks: {mine: {scope: job}}"), "9:14: the check 'mine' lacks 'script' or 'entry'"),
    (gen("checks: {mine: {script: none.sh}}"), "9:29: the script demo/none.sh does not exist (paths are relative to FOLDER)"),
    (gen("checks: {mine: {script: gen.sh, entry: 'a:b'}}"), "9:14: stages.gen.checks.mine: give either 'script' or 'entry'"),
    (gen("checks: {mine: {entry: a.b}}"), "9:28: stages.gen.checks.mine.entry: 'a.b' is not a Python function: write package.module:function"),
    (gen("checks: {mine: {script: gen.sh, scope: jobs}}"), "9:44: stages.gen.checks.mine.scope cannot be 'jobs' (did you mean 'job'?)"),
    (gen("checks: {mine: {script: gen.sh, scope: campaign}}"), "9:44: 'mine' is of scope campaign (write it under the campaign's checks)"),
    (gen("checks: {mine: {script: gen.sh, success: abcd}}"), "9:37: 'success' is no key of a check of your own"),
    (gen("checks: {mine: {script: gen.sh, scope: stage, arguments: ['{subrun}']}}"), "9:63: '{subrun}': there is no variable {subrun} here (did you mean 'run'?)"),
    (gen("checks: {Mine: true}"), "9:14: stages.gen.checks.Mine: the name 'Mine' is not allowed: use lower-case letters, digits and '_', a letter first, at most 40"),
    (gen("checks: {status: true}"), "9:14: the check 'status' needs the setting 'success'"),
    (gen("checks: {hdf5: true}"), "9:20: the check 'hdf5' needs an HDF5 file (it looks at files that end in .h5, .hdf5, .he5)"),
    (top("schedule: 61 * * * *"), "4:11: schedule: '61 * * * *' is not a cron expression that ever comes true: "),
    (top("schedule: 0 0 31 2 *"), "4:11: schedule: '0 0 31 2 *' is not a cron expression that ever comes true: "),
    (top("schedule: a b c d e"), "4:11: schedule: 'a b c d e' is not a cron expression that ever comes true: "),
    (top("schedule: R 2 * * *"), "4:11: schedule: 'R 2 * * *': R and H stand for a random time; write the time itself"),
    (top("storage: {outstage: /}"), "4:21: '/' is the root of the file system (name a folder of your own)"),
    (top("storage: {outstage: //}"), "4:21: '//' is the root of the file system (name a folder of your own)"),
    (top("storage: {outstage: '{area}/..'}"), "4:21: '/area/..' goes up by '..', which links can lead astray (write it out)"),
    (top("storage: {logs: /../x}"), "4:17: '/../x' goes up by '..', which links can lead astray (write it out)"),
    (gen("jobsub_options: ['file:///bin/sh']"), "9:21: stages.gen.jobsub_options: 'file:///bin/sh' names what the jobs run: use the key 'script'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[case[1][:60] for case in WRONG])
def test_message_and_place(specs: Specs, text: str, expected: str) -> None:
    found = [
        error.replace(str(specs.folder), "FOLDER").removeprefix("demo/z.yaml:")
        for error in specs.errors(text)
    ]
    assert len(found) == 1, found
    assert found[0].replace("relative to demo", "relative to FOLDER").startswith(expected)


def test_a_cap_in_the_defaults_that_one_stage_exceeds_is_refused_for_that_stage(specs: Specs) -> None:
    text = GOOD.replace("  memory: 1 GB\n", "  memory: 1 GB\n  recovery: {max_memory: 2 GB}\n").replace(
        "    inputs:", "    memory: 3 GB\n    inputs:"
    )
    assert specs.errors(text) == [
        "demo/z.yaml:6:26: max_memory is less than the memory that reco asks for (leave it out for twice the stage's own memory, or raise it)"
    ]


NAMES = [
    ("{run}{subrun}", "run 1 subrun 11 and run 11 subrun 1 have the same file name"),
    ("{run}{subrun:02d}", "run 1 subrun 111 and run 11 subrun 11 have the same file name"),
    ("{run:06d}_{subrun:.0e}", "run 1 subrun 11 and run 1 subrun 12 have the same file name"),
    ("{run:.0e}_{subrun}", "run 11 subrun 0 and run 12 subrun 0 have the same file name"),
    ("{run:06d}_{subrun:.2e}", "run 1 subrun 99998 and run 1 subrun 99999 have the same file name"),
    ("{run:.2e}_{subrun}", "run 1998 subrun 0 and run 1999 subrun 0 have the same file name"),
]


@pytest.mark.parametrize(("name", "expected"), NAMES)
def test_names_that_do_not_tell_subruns_apart(specs: Specs, name: str, expected: str) -> None:
    (found,) = specs.errors(GOOD.replace('"dts.{run:06d}_{subrun:08d}.root"', f'"x.{name}.root"'))
    assert found.startswith(f"demo/z.yaml:9:13: {expected}, 'x.")
    assert found.endswith("(use {run:06d}_{subrun:08d})")


@pytest.mark.parametrize(
    "name",
    [
        "{run}_{subrun}",
        "{run:x}-{subrun:x}",
        "{run:06d}{subrun:08d}",
        "{subrun:05d}{run}",
        "{run:.9e}_{subrun}",
    ],
)
def test_names_that_tell_subruns_apart(specs: Specs, name: str) -> None:
    specs.load(GOOD.replace('"dts.{run:06d}_{subrun:08d}.root"', f'"x.{name}.root"'))


@pytest.mark.parametrize("name", ["mcs.{run:06d}_{subrun:08d}.root", "mcs.{run:06}_{subrun:08d}.root"])
def test_a_merged_file_named_like_its_inputs(specs: Specs, name: str) -> None:
    (found,) = specs.errors(GOOD.replace("merged.{run:06d}_{subrun:08d}.root", name))
    assert found.startswith(
        "demo/z.yaml:18:13: the merged file is named like the files that it is made of: mcs.0"
    )


@pytest.mark.parametrize("name", ["job.json", "prodsys_job.py"])
def test_a_script_named_like_what_prodsys_sends(specs: Specs, name: str) -> None:
    specs.script(name)
    (found,) = specs.errors(GOOD.replace("script: gen.sh\n    output", f"script: {name}\n    output"))
    assert found == f"demo/z.yaml:8:13: the file name '{name}' is taken by prodsys (rename the script)"


@pytest.mark.parametrize("start", ["? ", "? {a: ", "- ", "a: ", "? - "])
@pytest.mark.parametrize("piece", ["[", "{", "- ", "{a: ", "? "])
def test_deep_nesting_is_refused_at_once(specs: Specs, start: str, piece: str) -> None:
    started = time.process_time()
    found = specs.errors(start + piece * (100_000 // len(piece)))
    assert time.process_time() - started < 2
    assert found


def test_a_good_cron_expression(specs: Specs) -> None:
    assert specs.load(top("schedule: '30 2 * * mon-fri'")).schedule == "30 2 * * mon-fri"
