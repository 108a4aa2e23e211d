# ruff: noqa: E501 - one case a line
"""Every kind of bad campaign file gets a clear error at the right place, before anything is submitted."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from include.campaign.reader import MAX_BYTES, read_spec
from include.campaign.resolve import load_plan
from include.errors import SpecError, SpecErrors

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs

GOOD = """\
version: 1
owner: demo
runs: {first: 1000, last: 1999}
slices: 3
subruns: 8
variables: {config: v1}
stages:
  gen:
    script: gen.sh
    arguments: [--seed, "{seed}"]
    lifetime: 30 min
    output: "dts.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
    tree: events
  reco:
    script: gen.sh
    inputs: {signal: gen}
    output: "mcs.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
    tree: events
merge:
  reco:
    output: "merged.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
"""
SIZES = "B, kB, MB, GB, TB, KiB, MiB, GiB, TiB"
NAME_RULE = "is not allowed: use lower-case letters, digits, '-' and '_', a letter first, at most 60"
WORD_RULE = "is not allowed: use lower-case letters, digits and '_', a letter first, at most 40"
RESERVED = "is reserved: prodsys has tasks called approve, archive, cleanup, merge, report, reserve, slice and merge_*"
DTS = "'dts.{owner}.z.{config}.{run:06d}_{subrun:08d}.root'"
NO_GEN = "16:22: there is no stage 'gen' (one of: reco)"
WRITE_OUT = "(write the value out, or use 'defaults')"


def replaced(old: str, new: str) -> str:
    """Return the good campaign with one thing changed."""
    assert GOOD.count(old) == 1, f"{old!r} is there {GOOD.count(old)} times"
    return GOOD.replace(old, new)


CHANGES = [
    # keys
    ("subruns: 8", "subrnus: 8", ["1:1: the key 'subruns' is missing", "5:1: unknown key 'subrnus' (did you mean 'subruns'?)"]),
    ("    lifetime: 30 min", "    memroy: 2 GB", ["11:5: unknown key 'memroy' in stages.gen (did you mean 'memory'?)"]),
    ("{first: 1000, last: 1999}", "{first: 1000, lst: 1}", ["3:1: the key 'last' is missing in runs", "3:21: unknown key 'lst' in runs (did you mean 'last'?)"]),
    ("{signal: gen}", "{signal: {stage: gen, slect: all}}", ["16:35: unknown key 'slect' in stages.reco.inputs.signal (did you mean 'select'?)"]),
    ("{signal: gen}", "{signal: {stage: gen, reuse: true}}", ["16:14: stages.reco.inputs.signal: 'reuse' goes with 'files' only"]),
    ("version: 1\n", "", ["1:1: the key 'version' is missing"]),
    ("owner: demo", "owner: demo\nowner: demo", ["3:1: the key 'owner' is given twice (first at line 2)"]),
    ("owner: demo", "1: demo", ["2:1: a key must be text, not '1' (put it in quotes if you mean it)"]),
    ("owner: demo", "[a]: demo", ["2:1: a key must be plain text"]),
    ("subruns: 8", "subruns:", ["5:9: subruns has no value (give it one, or remove the key)"]),
    # units
    ("30 min", "30", ["11:15: stages.gen.lifetime: 30 has no unit: write a time such as '8 h', units s, min, h, d"]),
    ("30 min", "30 minutes", ["11:15: stages.gen.lifetime: '30 minutes' has the unit 'minutes', which is not one of s, min, h, d; did you mean 30 min?"]),
    ("30 min", "30 GB", ["11:15: stages.gen.lifetime: '30 GB' has the unit 'GB', which is not one of s, min, h, d"]),
    ("30 min", "0 s", ["11:15: stages.gen.lifetime must be at least 1, not '0 s'"]),
    ("lifetime: 30 min", "memory: 2 Gb", [f"11:13: stages.gen.memory: '2 Gb' has the unit 'Gb', which is not one of {SIZES}; did you mean 2 GB?"]),
    ("lifetime: 30 min", "memory: 2000", [f"11:13: stages.gen.memory: 2000 has no unit: write a size such as '2 GB', units {SIZES}"]),
    ("lifetime: 30 min", "memory: much", [f"11:13: stages.gen.memory: 'much' is not a size: write one such as '2 GB', units {SIZES}"]),
    # values
    ("subruns: 8", "subruns: '8'", ["5:10: subruns must be a whole number, not '8'"]),
    ("subruns: 8", "subruns: 20000", ["5:10: subruns must be at most 10000, not 20000"]),
    ("subruns: 8", "subruns: 8\nfirst_subrun: 99999", ["5:1: the last subrun would be 100006 (subruns go up to 99999)"]),
    ("owner: demo", "phase: prodction", ["2:8: phase cannot be 'prodction' (did you mean 'production'?)"]),
    ("version: 1", "version: 2", ["1:10: version cannot be 2 (one of: 1)"]),
    ("owner: demo", "tags: demo", ["2:7: tags must be a list, not 'demo' (write [demo])"]),
    ("version: 1", "version: '1'", ["1:10: version cannot be '1' (write 1 without quotes)"]),
    ("owner: demo", "memory: 2 GB", ["2:1: unknown key 'memory' (it belongs to 'defaults' or a stage or a merge)"]),
    ("lifetime: 30 min", "target_size: 2 GB", ["11:5: unknown key 'target_size' in stages.gen (it belongs to a merge)"]),
    ("lifetime: 30 min", "schedule: '@daily'", ["11:5: unknown key 'schedule' in stages.gen (it belongs to the campaign, not indented)"]),
    ("{first: 1000, last: 1999}", "1000-1999", ["3:7: runs must be a mapping of keys to values, not '1000-1999' (write {first: 1000, last: 1999})"]),
    ("lifetime: 30 min", "success_threshold: 90", ["11:24: stages.gen.success_threshold must be at most 1.0, not 90 (a fraction: write 0.9 for 90 %)"]),
    ("lifetime: 30 min", "success_threshold: 95%", ["11:24: stages.gen.success_threshold must be a number, not '95%' (a fraction: write 0.95)"]),
    ("{config: v1}", "{config: v1, release: 1.10, old: 1.5}", ["6:34: variables.release: 1.10 would be written as 1.1: put it in quotes"]),
    ("lifetime: 30 min", "jobsub_options: ['--memory 4GB']", ["11:21: stages.gen.jobsub_options: '--memory 4GB' is one word for jobsub_submit: write '--memory=4GB'"]),
    ("lifetime: 30 min", "jobsub_options: [\u2013site=X]", ["11:21: stages.gen.jobsub_options: '\u2013site=X' begins with U+2013, which is no hyphen: write '-'"]),
    ("owner: demo", "schedule: '@dayly'", ["2:11: schedule: there is no schedule preset '@dayly' (did you mean '@daily'?)"]),
    ("lifetime: 30 min", "checks: {chksum: false}", ["11:14: there is no check 'chksum' (did you mean 'checksum'?)"]),
    ("lifetime: 30 min", "checks: {root: no}", ["11:20: stages.gen.checks.root: must be true, false or a mapping of its settings, not 'no'"]),
    ("lifetime: 30 min", "jobsub_options: [-N, 5]", ["11:21: stages.gen.jobsub_options: the option -N is prodsys's own: use the key 'subruns'"]),
    ("lifetime: 30 min", "environment: {PRODSYS_RUN: 1}", ["11:19: stages.gen.environment.PRODSYS_RUN: 'PRODSYS_RUN' is reserved: prodsys sets the variables that begin with PRODSYS_"]),
    ("--seed,", "1.50,", ["10:17: stages.gen.arguments[1]: must be text, not 1.5: put it in quotes"]),
    ('"{seed}"', "{seed}", ["10:25: stages.gen.arguments[2]: must be text, not a mapping: put text that begins with '{' in quotes"]),
    ("first: 1000, last: 1999", "first: 1999, last: 1000", ["3:1: runs: the last run, 1000, is before the first, 1999"]),
    ("first: 1000, last: 1999", "first: 1, last: 2", ["3:1: 2 run numbers are too few for the 3 slices of one dag_run (a slice takes a run number of its own)"]),
    ("owner: demo", "limits: {jobs_in_flight: 7}", ["2:26: a stage of a slice sends 8 jobs at once, so at most 7 cannot be kept (allow at least 8, or make slices of fewer subruns)"]),
    ("owner: demo", "limits: {slices_in_flight: 0}", ["2:28: limits.slices_in_flight must be at least 1, not 0"]),
    ("owner: demo", "limits: {jobs: 70}", ["2:10: unknown key 'jobs' in limits (one of: slices_in_flight, jobs_in_flight)"]),
    ("owner: demo", "storage: {outstage: here}", ["2:21: 'here' is not an absolute path (begin it with {area} or /)"]),
    # stages
    ("{signal: gen}", "{signal: gem}", ["16:22: there is no stage 'gem' (did you mean 'gen'?)"]),
    ("{signal: gen}", "{signal: gen.hits}", ["16:22: stage 'gen' has no output 'hits' (one of: default)"]),
    ("{signal: gen}", "{signal: merge_reco}", ["16:22: there is no stage 'merge_reco' (merge_reco is a merge, and merges come last: use 'reco')"]),
    ("{signal: gen}", "{signal: reco}", ["16:22: these stages wait for each other: reco → reco (A → B: A takes files from B)"]),
    ("lifetime: 30 min", "inputs: {x: {stage: reco}}", ["11:17: these stages wait for each other: gen → reco → gen (A → B: A takes files from B)"]),
    ("{signal: gen}", "{signal: {files: nowhere.txt}}", ["16:30: the file list FOLDER/nowhere.txt does not exist (paths are relative to FOLDER)"]),
    ("  reco:\n    output", "  recoo:\n    output", ["20:3: there is no stage 'recoo' to merge (did you mean 'reco'? or say which with 'of')"]),
    ("    inputs: {signal: gen}\n", "    inputs: {signal: gen}\n    events: 0\n", ["17:13: stages.reco.events must be at least 1, not 0"]),
    # names
    ("owner: demo", "owner: Ann Example", [f"2:8: owner: the name 'Ann Example' {NAME_RULE}"]),
    ("  gen:", "  ../gen:", [f"8:3: stages.../gen: the name '../gen' {WORD_RULE}", NO_GEN]),
    ("  gen:", "  report:", [f"8:3: stages.report: the stage name 'report' {RESERVED}", NO_GEN]),
    ("  gen:", "  merge_gen:", [f"8:3: stages.merge_gen: the stage name 'merge_gen' {RESERVED}", NO_GEN]),
    ("owner: demo", "experiment: mu2e", ["2:13: experiment is 'mu2e', but the folder is called 'demo' (make them agree)"]),
    ("owner: demo", "campaign: other", ["2:11: campaign is 'other', but the file is called 'z' (make them agree)"]),
    ("{config: v1}", "{config: v1, run: 5}", ["6:25: the variable 'run' is prodsys's own (rename it)"]),
    # templates
    ("dts.{owner}", "dts.{ownr}", [f"12:13: {DTS.replace('owner', 'ownr')}: there is no variable {{ownr}} here (did you mean 'owner'?)"]),
    ("dts.{owner}", "dts.{owner.x}", [f"12:13: {DTS.replace('owner', 'owner.x')}: {{owner.x}} is not a plain name (no attributes or indices)"]),
    ("dts.{owner}", "dts.{owner[0]}", [f"12:13: {DTS.replace('owner', 'owner[0]')}: {{owner[0]}} is not a plain name (no attributes or indices)"]),
    ("dts.{owner}", "dts.{seed}", [f"12:13: {DTS.replace('owner', 'seed')}: there is no variable {{seed}} here (one of: area, experiment, campaign, owner, config, run, subrun)"]),
    ("owner: demo", "storage: {logs: '/l/{run}'}", ["2:17: '/l/{run}': there is no variable {run} here (only the job knows it)"]),
    ('"{seed}"', '"{sed}"', ["10:25: '{sed}': there is no variable {sed} here (did you mean 'seed'?)"]),
    ('"{seed}"', '"{seed:0999999999d}"', ["10:25: '{seed:0999999999d}': the format ':0999999999d' is not allowed; use one such as {run:06d}"]),
    ('"{seed}"', '"{seed!r}"', ["10:25: '{seed!r}': the format '!r' is not allowed; use one such as {run:06d}"]),
    ('"{seed}"', '"{events}"', ["10:25: {events} is used, but the stage has no 'events' (add 'events: 100')"]),
    ('"{seed}"', '"{"', ["10:25: '{' is not a template: Single '{' encountered in format string; write {{ for a brace itself"]),
    ('"{seed}"', '"{}"', ["10:25: '{}': {} has no variable; write {{}} for the braces themselves"]),
    ('{run:06d}_{subrun:08d}.root"\n    tree: events\n  reco', '{run}.root"\n    tree: events\n  reco',
     ["12:13: the file name 'dts.{owner}.z.{config}.{run}.root' lacks {subrun} (two jobs would write the same name; use {run:06d}_{subrun:08d})"]),
    ('"dts.', '"a/b.', ["12:13: 'a/b.demo.z.v1.001000_00000000.root' is not a good file name (letters, digits and _ . + = - only, no folder, at most 200)"]),
    # YAML itself
    ("owner: demo", "owner: &o demo", [f"2:8: the anchor &o is not allowed {WRITE_OUT}"]),
    ("owner: demo", "owner: *o", [f"2:8: the alias *o is not allowed {WRITE_OUT}"]),
    ("owner: demo", "owner: !!python/object/apply:os.system [id]", ["2:8: the tag !!python/object/apply:os.system is not allowed (remove it)"]),
    ("owner: demo", "owner:\tdemo", ["2:7: a tab (use spaces)"]),
    ("owner: demo", "owner: de: mo", ["2:10: not valid YAML: mapping values are not allowed in this context (quote text that holds ': ', or mend the indentation)"]),
    ("owner: demo", "owner: demo\x07", ["2:12: the control character U+0007"]),
    ("owner: demo", "owner: [[[[[[[[[[[[[[x]]]]]]]]]]]]]]", ["2:20: nested more than 12 levels deep"]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), CHANGES, ids=[change[1][:30] for change in CHANGES])
def test_message_and_place(specs: Specs, old: str, new: str, expected: list[str]) -> None:
    found = specs.errors(replaced(old, new))
    assert [error.replace(str(specs.folder), "FOLDER") for error in found] == [
        f"demo/z.yaml:{error}".replace("FOLDER", "demo") for error in expected
    ]


WHOLE_FILES = [
    (b"", "1:1: the file is empty (see docs/spec.md)"),
    (b"# only a comment\n", "1:1: the file is empty (see docs/spec.md)"),
    (b"- a\n- b\n", "1:1: the file is not a mapping of keys to values (see docs/spec.md)"),
    (b"just text", "1:1: the file is not a mapping of keys to values (see docs/spec.md)"),
    (b"version: 1\ndescription: caf\xe9\n", "2:17: not UTF-8: byte 0xe9 (save it as UTF-8)"),
    ("version: 1\n".encode("utf-16"), "1:1: not UTF-8: byte 0xff (save it as UTF-8)"),
    (b"a: [1", "2:1: not valid YAML: did not find expected ',' or ']' while parsing a flow sequence that begins at line 1"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "expected"), WHOLE_FILES, ids=[str(item[0][:20]) for item in WHOLE_FILES]
)
def test_whole_file(specs: Specs, content: bytes, expected: str) -> None:
    assert specs.errors(content) == [f"demo/z.yaml:{expected}"]


def test_a_second_document_is_refused(specs: Specs) -> None:
    found = specs.errors(GOOD + "---\nversion: 1\n")
    assert found == [
        "demo/z.yaml:22:1: a second YAML document begins here (one campaign a file: remove the '---')"
    ]


def test_every_error_is_shown_at_once(specs: Specs) -> None:
    text = replaced("    lifetime: 30 min", "    lifetime: 3\n    memry: 1 GB").replace(
        "signal: gen", "signal: gem"
    )
    assert [error.split(": ", 1)[0] for error in specs.errors(text.replace("{seed}", "{sed}"))] == [
        "demo/z.yaml:10:25", "demo/z.yaml:11:15", "demo/z.yaml:12:5", "demo/z.yaml:17:22",
    ]  # fmt: skip


def test_10_mb_are_refused_by_size(specs: Specs) -> None:
    started = time.process_time()
    found = specs.errors(b"# " + b"x" * 10_000_000)
    assert time.process_time() - started < 1
    assert found == [
        f"demo/z.yaml: the file has 10000002 bytes; a campaign file has at most {MAX_BYTES} (put long lists into a file list of their own)"
    ]


def test_a_bomb_of_aliases_is_refused(specs: Specs) -> None:
    levels = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 60)]
    started = time.process_time()
    found = specs.errors("\n".join(levels) + "\n" + GOOD)
    assert time.process_time() - started < 1
    assert f"demo/z.yaml:1:5: the anchor &a0 is not allowed {WRITE_OUT}" in found


def test_a_flood_of_errors_is_cut(specs: Specs) -> None:
    started = time.process_time()
    found = specs.errors(GOOD + "".join(f"k{number}: 1\n" for number in range(20_000)))
    assert len(found) == 50
    assert time.process_time() - started < 5


def test_script_missing_or_not_executable(specs: Specs) -> None:
    specs.script("gen.sh", mode=0o644)
    other = replaced("  reco:\n    script: gen.sh", "  reco:\n    script: sub/none.sh")
    assert specs.errors(other) == [
        "demo/z.yaml:9:13: the script demo/gen.sh is not executable (chmod +x gen.sh)",
        "demo/z.yaml:15:13: the script demo/sub/none.sh does not exist (paths are relative to demo)"
        .replace("to demo", f"to {specs.folder}".replace(f"{specs.root}/", "")),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (b"", "is empty"),
        (b"MZ\x90\x00", "is neither a script nor a program of Linux"),
        (b"echo hello\n", "does not begin with '#!' (its first line says what runs it, such as #!/bin/bash)"),
        (b"\xef\xbb\xbf#!/bin/sh\n", "does not begin with '#!' (its first"),
        (b"#!/bin/bash\r\necho\r\n", "has lines that end with CRLF (take them out: sed -i"),
        (b"#!/bin/sh", ""),
        (b"#!/usr/bin/env python3\nPK\x03\x04\x14\x00", ""),
        (b"\x7fELF\x02\x01", ""),
    ],
)
def test_a_script_that_no_node_could_start_is_refused(specs: Specs, head: bytes, says: str) -> None:
    (specs.folder / "gen.sh").write_bytes(head)
    if not says:
        specs.load(GOOD)
        return
    found = specs.errors(GOOD)
    assert found[0].startswith(f"demo/z.yaml:9:13: the script demo/gen.sh {says}")
    assert [error.partition(": ")[0] for error in found] == ["demo/z.yaml:9:13", "demo/z.yaml:15:13"]


@pytest.mark.parametrize("key", ["launcher", "check"])
def test_what_a_shell_may_run_needs_no_interpreter_line(specs: Specs, key: str) -> None:
    (specs.folder / "own.sh").write_bytes(b"echo hello\n")
    (specs.folder / "own.sh").chmod(0o755)
    keys = {"launcher": "defaults: {launcher: own.sh}", "check": "checks: {own: {script: own.sh}}"}
    text = GOOD.replace("stages:", f"{keys[key]}\nstages:")
    specs.load(text)
    (specs.folder / "own.sh").write_bytes(b"echo hello\r\n")
    assert all("own.sh has lines that end with CRLF" in each for each in specs.errors(text))
    (specs.folder / "own.sh").write_bytes(b"")
    assert all("own.sh is empty" in each for each in specs.errors(text))


def test_a_script_that_cannot_be_read_after_all_is_an_error_of_the_spec(
    specs: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(5, "Input/output error")

    text = GOOD.replace("    script: gen.sh\n    inputs", "    script: reco.sh\n    inputs")
    specs.script("reco.sh")
    specs.load(text)
    monkeypatch.setattr("include.campaign.context.open", fails, raising=False)
    assert [each.partition(": ")[2] for each in specs.errors(text)] == [
        "the script demo/gen.sh cannot be read: Input/output error",
        "the script demo/reco.sh cannot be read: Input/output error",
    ]


def test_a_script_on_cvmfs_is_not_looked_for(specs: Specs) -> None:
    plan = specs.load(GOOD.replace("script: gen.sh", "script: /cvmfs/nowhere.example/run.sh"))
    assert plan.stage("gen").script == "/cvmfs/nowhere.example/run.sh"


def test_files_that_would_collide_in_the_job_are_refused(specs: Specs) -> None:
    (specs.folder / "sub").mkdir()
    (specs.folder / "sub" / "gen.sh").touch()
    found = specs.errors(replaced("    lifetime: 30 min", "    files: [sub/gen.sh]"))
    assert found == ["demo/z.yaml:11:13: the file name 'gen.sh' is taken by the script (rename the file)"]


def test_the_file_list_is_read_and_checked(specs: Specs) -> None:
    (specs.folder / "list.txt").write_text("# pile-up\n/a/1.root\n\nroot://host//2.root\nrelative.root\n")
    text = replaced("{signal: gen}", "{signal: {files: list.txt, per_job: 2, reuse: true}}")
    assert specs.errors(text) == ["demo/list.txt:5:1: 'relative.root' is neither an absolute path nor a URL"]
    (specs.folder / "list.txt").write_text("# pile-up\n/a/1.root\n\nroot://host//2.root\n")
    (source,) = specs.load(text).stage("reco").inputs
    assert (source.files, source.per_job, source.stage) == (("/a/1.root", "root://host//2.root"), 2, None)
    assert source.reuse


def test_a_file_list_with_the_same_file_twice(specs: Specs) -> None:
    (specs.folder / "list.txt").write_text("# files\n/a/1.root\n/a/2.root\n\n  /a/1.root\n")
    expected = ["demo/list.txt:5:1: '/a/1.root' is there twice, first on line 2 (remove one)"]
    for reuse in ("true", "false"):
        text = replaced("{signal: gen}", f"{{signal: {{files: list.txt, reuse: {reuse}}}}}")
        assert specs.errors(text) == expected


def test_a_file_list_that_is_too_short_to_be_read_once(specs: Specs) -> None:
    lines = [f"/a/{number}.root\n" for number in range(48)]
    (specs.folder / "list.txt").write_text("".join(lines))
    text = replaced("{signal: gen}", "{signal: {files: list.txt, per_job: 2}}")
    assert not specs.load(text).stage("reco").inputs[0].reuse
    (specs.folder / "list.txt").write_text("".join(lines[:-3]))
    assert specs.errors(text) == [
        "demo/z.yaml:16:23: the list's 45 files are 3 too few for slices (3) x subruns (8) x per_job (2) (add files or ask for less; or, if files may be read again, as pile-up may, set reuse: true)"
    ]
    assert specs.load(text.replace("per_job: 2", "per_job: 2, reuse: true")).stage("reco").inputs[0].reuse
    assert specs.errors(text.replace("per_job: 2", "reuse: maybe")) == [
        "demo/z.yaml:16:47: stages.reco.inputs.signal.reuse must be true or false, not 'maybe'"
    ]


@pytest.mark.parametrize(
    "name", ["Bad.yaml", "1st.yaml", "a b.yaml", "a.b.yaml", "x" * 61 + ".yaml", "é.yaml"]
)
def test_a_file_name_that_makes_no_dag_id(specs: Specs, name: str) -> None:
    (found,) = specs.errors(GOOD, name=name)
    assert found == f"demo/{name}: the file: the name {name[:-5]!r} {NAME_RULE} (rename it)"


def test_a_folder_name_that_makes_no_dag_id(specs: Specs) -> None:
    (found,) = specs.errors(GOOD, name="../Bad Exp/z.yaml")
    assert f"the experiment's folder: the name 'Bad Exp' {NAME_RULE} (rename it)" in found


@pytest.mark.parametrize("name", ["../z.yaml", "deep/z.yaml", "../../z.yaml"])
def test_a_file_at_the_wrong_place(specs: Specs, name: str) -> None:
    (found,) = specs.errors(GOOD, name=name)
    assert "not at its place (a campaign is " in found


@pytest.mark.parametrize("other", ["z.yml", "Z.yaml", "z.YML"])
def test_a_duplicate_campaign_name(specs: Specs, other: str) -> None:
    specs.write(name=other)
    assert specs.errors(GOOD) == [
        f"demo/z.yaml: duplicate campaign name: {other} is the same campaign (keep one of them)"
    ]


def test_what_is_no_file_is_refused(specs: Specs) -> None:
    (specs.folder / "folder.yaml").mkdir()
    os.mkfifo(specs.folder / "pipe.yaml")
    for name in ("folder.yaml", "pipe.yaml"):
        with pytest.raises(SpecError, match=r"cannot be read|not a file"):
            read_spec(specs.folder / name)
    with pytest.raises(SpecError, match="cannot be read: No such file"):
        load_plan(specs.folder / "none.yaml", specs=specs.root, area="/area")


def test_read_spec_says_the_same(specs: Specs) -> None:
    path = specs.write(replaced("subruns: 8", "subrnus: 8"))
    with pytest.raises(SpecErrors) as caught:
        read_spec(path)
    assert [(error.line, error.column) for error in caught.value.errors] == [(1, 1), (5, 1)]
    assert str(caught.value) == "\n".join(str(error) for error in caught.value.errors)
    assert Path(caught.value.file) == path
