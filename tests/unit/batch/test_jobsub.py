"""The command line for jobsub_submit, and the verdict on its output."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.batch.jobsub import JobsubSubmitter, judge, parse_clusters
from include.batch.pool import ClusterId, SubmitRequest
from include.batch.requirements import REQUEUE_LINES, REQUIREMENT
from include.campaign.jobsub_options import changed_by_jobsub
from include.errors import MissingTool, SubmissionAmbiguous, SubmissionRefused

REQUEST = SubmitRequest(
    executable="/opt/prod sys/worker/prodsys_job.py",
    arguments=("run", "job.json"),
    jobs=8,
    group="demo",
    role="Production",
    tag="demo.z/manual__2026-11-23T12:00:00+00:00/001000/gen/recovery-0",
    memory_mb=500,
    disk_kb=1048576,
    cpus=2,
    lifetime_s=1800,
    files=("/data/it's here/job.json", '/data/a "b"/gen.py'),
    environment=(("GREETING", "hello big world"),),
    options=("--onsite", "-c", '(TARGET.has_avx == "yes")'),
)
GOOD = """Submitting job(s)........
8 job(s) submitted to cluster 12345.

=-=-=-=-=-=-

Use job id 12345.0@jobsub01.fnal.gov to retrieve output
=-=-=-=-=-=-
"""
FAILED = """Submitting job(s)
ERROR: Failed to connect to queue manager
=-=-=-
Error: condor_submit exited with failed status code 1
=-=-=-
"""
USAGE = "usage: jobsub_submit [-h] [-G GROUP]\njobsub_submit: error: unrecognized arguments: --memmory\n"


def verdict(output: str, exit_code: int | None = 0) -> tuple[ClusterId, ...]:
    return judge(output, exit_code=exit_code, command=["jobsub_submit"], timeout_s=5).clusters


def program(folder: Path, body: str) -> JobsubSubmitter:
    path = folder / "jobsub_submit"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return JobsubSubmitter(environment={"PATH": f"{folder}:{os.environ['PATH']}", "FOLDER": str(folder)})


def test_command_line() -> None:
    command = JobsubSubmitter().command(REQUEST)
    assert command == [
        *("jobsub_submit", "-G", "demo", "--role", "Production", "-N", "8", "--memory", "500MB"),
        *("--disk", "1048576KB", "--cpu", "2", "--expected-lifetime", "1800s"),
        *("--lines", f'+ProdsysTag="{REQUEST.tag}"'),
        *(word for line in REQUEUE_LINES for word in ("--lines", line)),
        *("-e", "GREETING=hello big world"),
        *("-f", "dropbox:///data/it's here/job.json", "-f", 'dropbox:///data/a "b"/gen.py'),
        *("--append_condor_requirements", f'((TARGET.has_avx == "yes")) && {REQUIREMENT}', "--onsite"),
        *("file:///opt/prod sys/worker/prodsys_job.py", "run", "job.json"),
    ]
    assert [changed_by_jobsub(word) for word in command] == command


def test_excluded_nodes_and_sites() -> None:
    request = replace(REQUEST, excluded_machines=("wn2.x", "wn1.x"), excluded_sites=("US_BNL",))
    command = JobsubSubmitter().command(request)
    lines = [command[place + 1] for place, word in enumerate(command) if word == "--lines"]
    assert lines == [
        f'+ProdsysTag="{REQUEST.tag}"',
        *REQUEUE_LINES,
        '+ProdsysExcludedHosts="wn1.x,wn2.x"',
        '+ProdsysExcludedSites="US_BNL"',
    ]
    assert [changed_by_jobsub(word) for word in command] == command


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tag": 'a"b'}, "tag"),
        ({"tag": "a\nqueue 5"}, "line break"),
        ({"tag": "$(Cluster)"}, "tag"),
        ({"tag": "it's 'quoted'"}, "single quotes"),
        ({"files": ("/data/two words.py",)}, "two words.py"),
        ({"files": ("relative.py",)}, "absolute"),
        ({"files": ("/data/back\\slash/gen.py",)}, "backslashes"),
        ({"executable": "prodsys_job.py"}, "absolute"),
        ({"arguments": ("run", "a b")}, "'a b'"),
        ({"arguments": ("run", "$HOME")}, "HOME"),
        ({"environment": (("A", "x;y"),)}, "value of A"),
        ({"environment": (("A-B", "x"),)}, "A-B"),
        ({"environment": (("A", "$(Process)"),)}, "value of A"),
        ({"options": ("--maxConcurrent", "5")}, "DAG"),
        ({"options": ("--maxC=5",)}, "DAG"),
        ({"options": ("--dataset_definition=x",)}, "DAG"),
        ({"options": ("-N", "3")}, "-N"),
        ({"options": ("-N3",)}, "-N3"),
        ({"options": ("--no-submit",)}, "--no-submit"),
        ({"options": ("--mem=1MB",)}, "--memory"),
        ({"options": ("-l", '+ProdsysTag="x"')}, "Prodsys"),
        ({"options": ("-c",)}, "requirements expression"),
        ({"excluded_machines": ("wn1.pool", 'wn"2')}, 'wn"2'),
        ({"excluded_sites": ("a,b",)}, "a,b"),
        ({"jobs": 0}, "jobs"),
    ],
)
def test_what_would_not_survive_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(SubmissionRefused, match=r"Nothing was submitted") as error:
        JobsubSubmitter().command(replace(REQUEST, **change))  # type: ignore[arg-type]
    assert says in str(error.value)


def test_job_id_is_success_whatever_the_exit_code() -> None:
    expected = (ClusterId(schedd="jobsub01.fnal.gov", cluster=12345),)
    assert verdict(GOOD) == verdict(GOOD, 1) == verdict(GOOD, None) == verdict(GOOD + FAILED) == expected


def test_schedd_name_may_hold_an_at_sign() -> None:
    assert parse_clusters("Use job id 7.0@ap1@pool.lab to retrieve output") == (
        ClusterId(schedd="ap1@pool.lab", cluster=7),
    )


def test_failed_condor_submit_is_refused_although_it_exits_0() -> None:
    with pytest.raises(SubmissionRefused, match=r"Failed to connect to queue manager") as error:
        verdict(FAILED, 0)
    assert "exit code 0" in str(error.value)


def test_usage_error_is_refused() -> None:
    with pytest.raises(SubmissionRefused, match=r"unrecognized arguments: --memmory"):
        verdict(USAGE, 2)


@pytest.mark.parametrize(
    ("output", "exit_code"),
    [
        ("", 0),
        ("", None),
        ("8 job(s) submitted to cluster 12345.\n", 0),
        ("8 job(s) submitted to cluster 12345.\n" + FAILED, 0),
        (FAILED, None),
        ("Traceback (most recent call last):\nNameError: x\n", 1),
        (USAGE, 1),
        ("error", 2),
        ("Use job id 12345.0@ to retrieve output", 0),
    ],
)
def test_all_else_is_ambiguous(output: str, exit_code: int | None) -> None:
    with pytest.raises(SubmissionAmbiguous, match=r"may or may not exist"):
        verdict(output, exit_code)


PIECES = st.sampled_from(
    [
        *GOOD.splitlines(keepends=True),
        *FAILED.splitlines(keepends=True),
        *USAGE.splitlines(keepends=True),
        "@",
        "0",
    ]
)


@given(st.lists(st.one_of(st.text(max_size=40), PIECES)), st.sampled_from([None, 0, 1, 2, 255]))
def test_junk_never_yields_an_id_that_is_not_there(parts: list[str], exit_code: int | None) -> None:
    output = "".join(parts)
    try:
        clusters = verdict(output, exit_code)
    except SubmissionRefused:
        assert "submitted to cluster" not in output
        assert exit_code is not None
    except SubmissionAmbiguous:
        assert not parse_clusters(output)
    else:
        assert clusters
        assert all(f"Use job id {c.cluster}." in output and f"@{c.schedd} to" in output for c in clusters)


def test_submit_passes_arguments_untouched(tmp_path: Path) -> None:
    submitter = program(tmp_path, f'printf "%s\\n" "$@" > "$FOLDER/args"; cat <<"X"\n{GOOD}\nX')
    answer = submitter.submit(REQUEST, timeout_s=20)
    assert answer.clusters == (ClusterId(schedd="jobsub01.fnal.gov", cluster=12345),)
    assert (tmp_path / "args").read_text().splitlines() == submitter.command(REQUEST)[1:]


def test_slow_submit_is_ended_with_all_it_started(tmp_path: Path) -> None:
    submitter = program(tmp_path, 'sleep 300 & echo $! > "$FOLDER/pid"; echo working; wait')
    began = time.monotonic()
    with pytest.raises(SubmissionAmbiguous, match=r"did not end within 2 s") as error:
        submitter.submit(REQUEST, timeout_s=2)
    assert time.monotonic() - began < 12
    assert "| working" in str(error.value)
    status = Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}/status")
    end = time.monotonic() + 5
    while status.exists() and "zombie" not in status.read_text():
        assert time.monotonic() < end, "the command's child lives on"


def test_killed_submit_is_ambiguous(tmp_path: Path) -> None:
    with pytest.raises(SubmissionAmbiguous):
        program(tmp_path, "kill -9 $$").submit(REQUEST, timeout_s=20)


def test_an_expired_token_is_named_with_its_cure(tmp_path: Path) -> None:
    said = "PermissionError: Failed attempting 'htgettoken -a vault.example'"
    with pytest.raises(SubmissionAmbiguous) as error:
        program(tmp_path, f'echo "Attempting to get token"; echo "{said}"; exit 1').submit(
            REQUEST, timeout_s=20
        )
    head, *rest = str(error.value).splitlines()
    assert head == f"jobsub_submit named no job id ({said}): jobs may or may not exist."
    assert "Likely the token: renew it here, for the user that this runs as." in rest


def test_output_that_is_not_text(tmp_path: Path) -> None:
    with pytest.raises(SubmissionAmbiguous, match=r"named no job id"):
        program(tmp_path, "head -c 6000000 /dev/urandom").submit(REQUEST, timeout_s=20)


def test_missing_program(tmp_path: Path) -> None:
    submitter = JobsubSubmitter(
        program="jobsub_submit_that_is_not_there", environment={"PATH": str(tmp_path)}
    )
    with pytest.raises(MissingTool, match=r"nothing was submitted"):
        submitter.submit(REQUEST, timeout_s=1)


def test_environment_is_the_whole_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_THIS_PROCESS", "1")
    submitter = program(tmp_path, f'env > "$FOLDER/env"; cat <<"X"\n{GOOD}\nX')
    submitter.submit(REQUEST, timeout_s=20)
    names = {line.partition("=")[0] for line in (tmp_path / "env").read_text().splitlines()}
    assert "FOLDER" in names
    assert "OF_THIS_PROCESS" not in names


def test_without_an_environment_the_own_one_is_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, f'test "$OF_THIS_PROCESS" = 1 && cat <<"X"\n{GOOD}\nX')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("OF_THIS_PROCESS", "1")
    assert JobsubSubmitter().submit(REQUEST, timeout_s=20).clusters


def test_empty_environment_has_no_path() -> None:
    with pytest.raises(MissingTool, match=r"jobsub_submit is not on PATH"):
        JobsubSubmitter(environment={}).submit(REQUEST, timeout_s=1)
