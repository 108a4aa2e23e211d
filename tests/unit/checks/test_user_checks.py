# ruff: noqa: E501 - one case a line
"""Checks of the experiment's own: called by the contract, and never trusted."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.campaign.plan import UserCheckPlan
from include.campaign.states import Outcome, SubrunState
from include.checks.child import MAX_STDOUT, run_bounded
from include.checks.user import _answer, ask

PASSED = '{"outcome": "passed"}'


def own(name: str = "mine", **changes: object) -> UserCheckPlan:
    """Return a check of one's own."""
    check = UserCheckPlan(name=name, scope="job", script="", entry="", arguments=(), timeout_s=20)
    return replace(check, **changes)


def shell(folder: Path, text: str, **changes: object) -> UserCheckPlan:
    """Return a check that is a shell script."""
    path = folder / "check.sh"
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return own(script=str(path), **changes)


def gone(pid: int) -> bool:
    """Wait until a process is gone or a zombie; whether that came true in 5 s."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
    return False


@pytest.fixture
def plan(make_site, tmp_path):
    """A plan whose campaign file is in a folder of this test."""
    return replace(make_site().plan, spec_file=str(tmp_path / "z.yaml"))


def test_a_job_is_described_and_its_verdict_counts(make_site, tmp_path):
    check = shell(tmp_path, f'cat > {tmp_path}/told; echo "$@" > {tmp_path}/args; env > {tmp_path}/env\n'
                  """echo '{"outcome": "failed", "reason": "12 muons, expected 90", "evidence": "pt"}'""",
                  arguments=("{run:06d}", "{subrun}", "{process}"))  # fmt: skip
    site = make_site(user_checks=(check,))
    execution = site.execute(0)
    judgement = site.judge()
    (unit,) = judgement.units
    assert unit.state is SubrunState.MISSING
    assert (unit.verdicts[-1].check, unit.verdicts[-1].reason, unit.verdicts[-1].evidence) == (
        "mine", "12 muons, expected 90", "pt",
    )  # fmt: skip
    assert judgement.reject == ((execution, "default"),)
    told = json.loads((tmp_path / "told").read_text())
    assert [told[key] for key in ("version", "check", "scope", "experiment", "campaign", "stage", "run")] == [
        1, "mine", "job", "demo", "z", "gen", 1000,
    ]  # fmt: skip
    assert told["tag"] == site.submission.tag == told["job"]["tag"]
    job = told["job"]
    assert (job["process"], job["first_subrun"], job["last_subrun"], job["exit_code"]) == (0, 0, 0, 0)
    assert (job["job_id"], job["execution"], job["wall_s"]) == ("41.0@ap1@pool.test", execution, 100.0)
    assert Path(job["log"]).is_file()
    (output,) = job["outputs"]
    assert Path(output["path"]).stat().st_size == output["size"]
    assert (output["events"], len(output["sha256"]), len(output["adler32"])) == (20, 64, 8)
    assert (tmp_path / "args").read_text().split() == ["001000", "0", "0"]
    variables = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert {name for name in variables if name.startswith("PRODSYS_")} == {
        f"PRODSYS_{name}" for name in ("CHECK", "SCOPE", "EXPERIMENT", "CAMPAIGN", "STAGE", "RUN", "TAG")
    }
    assert set(variables) - {name for name in variables if name.startswith("PRODSYS_")} <= {
        "PATH", "HOME", "LANG", "TZ", "PWD", "SHLVL", "_", "OLDPWD",
    }  # fmt: skip


def test_it_runs_only_on_what_is_good_so_far(make_site, tmp_path):
    site = make_site(2, user_checks=(shell(tmp_path, f"echo x >> {tmp_path}/calls; echo '{PASSED}'"),))
    site.execute(0)
    site.fail(1, 7)
    units = site.judge().units
    assert [unit.state for unit in units] == [SubrunState.ACCEPTED, SubrunState.MISSING]
    assert units[0].verdicts[-1].check == "mine"
    assert (tmp_path / "calls").read_text() == "x\n"


def test_its_word_cannot_make_bad_outputs_good(make_site, tmp_path):
    site = make_site(user_checks=(shell(tmp_path, f"echo '{PASSED}'"),))
    execution = site.execute(0)
    next((site.outstage / execution).glob("*.root")).write_bytes(b"damaged")
    assert site.judge().units[0].state is SubrunState.MISSING


def test_unknown_is_neither_accepted_nor_missing(make_site, tmp_path):
    site = make_site(user_checks=(shell(tmp_path, "exit 3"),))
    site.execute(0)
    judgement = site.judge()
    assert (judgement.units[0].state, judgement.accept, judgement.reject) == (SubrunState.UNKNOWN, (), ())
    assert judgement.units[0].verdicts[-1].reason == "check.sh ended with exit code 3"


HOSTILE = [
    ("exit 3", "check.sh ended with exit code 3"),
    ("echo one >&2; printf 'the \\033[31mlast\\033[0m\\n\\n' >&2; exit 1", "check.sh ended with exit code 1: the last"),
    ("kill -KILL $$", "signal 9 (SIGKILL) ended check.sh"),
    ("true", "check.sh gave no verdict: it wrote nothing"),
    ("exec <&-; echo '{'", "check.sh gave no verdict: its answer is not JSON, Expecting property name"),
    ("echo '[1]'", "check.sh gave no verdict: its answer is a list, not an object"),
    ("""echo '{"outcome": NaN}'""", "check.sh gave no verdict: its answer is not JSON, NaN is not a JSON number"),
    ("""echo '{"outcome": "good"}'""", "check.sh gave no verdict: its outcome is 'good' instead of passed, failed"),
    ("""echo '{"outcome": ["passed"]}'""", "check.sh gave no verdict: its outcome is ['passed'] instead of"),
    ("""echo '{"outcome": "passed", "reason": 1}'""", "check.sh gave no verdict: its reason is a int instead"),
    ("""printf '{"outcome": "passed", "reason": "\\377"}'""", "check.sh gave no verdict: its answer is not UTF-8"),
    ("yes '['", f"check.sh wrote more than {MAX_STDOUT} bytes and was stopped"),
    (f"head -c 200000 /dev/zero | tr '\\0' '['; {'true'}", "check.sh gave no verdict: its answer is nested too deeply"),
    (f"head -c 200000 /dev/zero | tr '\\0' '1'; {'true'}", "check.sh gave no verdict: its answer is not JSON"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), HOSTILE, ids=[case[0][:40] for case in HOSTILE])
def test_what_does_not_count(plan, tmp_path, text, expected):
    verdict = ask(plan, shell(tmp_path, text), {"run": 1}, {}).verdict
    assert (verdict.outcome, verdict.check) == (Outcome.UNKNOWN, "mine")
    assert verdict.reason.startswith(expected)
    assert verdict.reason.isprintable()
    assert len(verdict.reason) < 1200


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (["failed"], "mine gave no verdict: it says passed, and of process 0 failed"),
        (["passed", "unknown"], "mine gave no verdict: it says passed, and of process 1 unknown"),
        (["passed", "passed"], ""),
    ],
)
def test_an_answer_that_contradicts_itself_is_unknown(plan, tmp_path, said, expected):
    jobs = [{"process": n, "outcome": outcome, "reason": "x"} for n, outcome in enumerate(said)]
    (tmp_path / "answer").write_text(json.dumps({"outcome": "passed", "verdicts": jobs}))
    check = shell(tmp_path, f"cat {tmp_path}/answer", scope="stage")
    verdict = ask(plan, check, {}, {}).verdict
    assert verdict.reason == expected.replace("mine", "check.sh")
    assert verdict.outcome is (Outcome.UNKNOWN if expected else Outcome.PASSED)


def test_a_hang_is_stopped_with_all_that_it_started(plan, tmp_path):
    check = shell(
        tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; echo $$ > {tmp_path}/own; wait", timeout_s=1
    )
    started = time.monotonic()
    verdict = ask(plan, check, {}, {}).verdict
    assert time.monotonic() - started < 10
    assert verdict.reason == "check.sh gave no answer within 1 s and was stopped"
    assert all(gone(int((tmp_path / name).read_text())) for name in ("child", "own"))


def test_a_check_ends_even_if_its_caller_is_killed(plan, tmp_path):
    check = shell(
        tmp_path, f"sleep 60 & echo $! $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pids; wait"
    )
    code = (
        "from include.checks import child; child.LEASH_S = 1; "
        f"child.run_bounded([{check.script!r}], stdin=b'', timeout_s=1, environment={{}}, folder='/')"
    )
    caller = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 30
    while not (tmp_path / "pids").exists() and time.monotonic() < deadline:
        pass
    caller.kill()
    caller.wait()
    assert all(gone(int(pid)) for pid in (tmp_path / "pids").read_text().split())


def test_a_child_that_keeps_stdout_open_is_not_waited_for(plan, tmp_path):
    check = shell(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; echo '{PASSED}'")
    started = time.monotonic()
    assert ask(plan, check, {}, {}).verdict.outcome is Outcome.PASSED
    assert time.monotonic() - started < 10
    assert gone(int((tmp_path / "child").read_text()))


def test_one_that_closes_its_outputs_and_lives_on_is_stopped(plan, tmp_path):
    check = shell(tmp_path, "exec >&- 2>&- <&-; exec sleep 60", timeout_s=1)
    assert "no answer within 1 s" in ask(plan, check, {}, {}).verdict.reason


def test_a_large_document_that_nobody_reads(plan, tmp_path):
    check = shell(tmp_path, f"echo '{PASSED}'")
    assert ask(plan, check, {"jobs": "x" * 5_000_000}, {}).verdict.outcome is Outcome.PASSED


def test_a_large_document_and_much_stderr_do_not_lock(plan, tmp_path):
    text = f"head -c 3000000 /dev/zero | tr '\\0' 'e' >&2; wc -c > {tmp_path}/count; echo '{PASSED}'"
    assert ask(plan, shell(tmp_path, text), {"jobs": "x" * 5_000_000}, {}).verdict.outcome is Outcome.PASSED
    assert int((tmp_path / "count").read_text()) > 5_000_000


def test_what_cannot_be_started(plan, tmp_path):
    verdict = ask(plan, own(script=str(tmp_path / "none")), {}, {}).verdict
    assert (verdict.outcome, verdict.reason) == (
        Outcome.UNKNOWN,
        "none cannot be started: No such file or directory",
    )
    (tmp_path / "plain").write_text("no program")
    verdict = ask(plan, own(script=str(tmp_path / "plain")), {}, {}).verdict
    assert verdict.reason == "plain cannot be started: Permission denied"
    verdict = ask(plan, own(script=str(tmp_path)), {}, {}).verdict
    assert verdict.reason.endswith("cannot be started: Is a directory")


MODULE = """
import os, sys
def judge(document, *arguments):
    print("not in the answer"); os.system("echo nor this")
    return {"outcome": "failed", "reason": f"{document['run']} {arguments}"}
def broken(document): return 1 / 0
def number(document): return 3
def nan(document): return {"outcome": float("nan")}
def leave(document): os._exit(0)
"""


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("judge", ("a", "{run}"), (Outcome.FAILED, "7 ('a', '5')")),
        ("broken", (), (Outcome.UNKNOWN, "qa.spectra:broken ended with exit code 1: ZeroDivisionError: ")),
        ("number", (), (Outcome.UNKNOWN, "qa.spectra:number ended with exit code 1: qa.spectra:number returned a")),
        ("nan", (), (Outcome.UNKNOWN, "qa.spectra:nan gave no verdict: its answer is not JSON, NaN")),
        ("leave", (), (Outcome.UNKNOWN, "qa.spectra:leave gave no verdict: it wrote nothing")),
        ("absent", (), (Outcome.UNKNOWN, "qa.spectra:absent ended with exit code 1: AttributeError")),
    ],
)  # fmt: skip
def test_a_python_function(plan, tmp_path, function, arguments, expected):
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "spectra.py").write_text(MODULE)
    (tmp_path / "json.py").write_text("raise RuntimeError('a file here must not hide a module of Python')")
    check = own(entry=f"qa.spectra:{function}", arguments=arguments)
    verdict = ask(plan, check, {"run": 7}, {"run": 5}).verdict
    assert verdict.outcome is expected[0]
    assert verdict.reason.startswith(expected[1])


def test_texts_are_made_fit_for_a_line_and_a_database(plan, tmp_path):
    answer = json.dumps(
        {"outcome": "failed", "reason": "a\n\tb\u0000\ud800\x1b[1mc" + "x" * 5000, "evidence": "e\r\nf"}
    )
    (tmp_path / "answer").write_text(answer)
    verdict = ask(plan, shell(tmp_path, f"cat {tmp_path}/answer"), {}, {}).verdict
    assert verdict.reason.startswith("a b c")
    assert len(verdict.reason) == 1001
    assert (verdict.reason + verdict.evidence).isprintable()
    assert verdict.evidence == "e f"


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(
        st.binary(max_size=200),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["outcome", "reason", "evidence", "verdicts", "process", "tag", "x"]),
                    st.sampled_from(["passed", "failed", "unknown"]) | inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    st.sampled_from(["job", "stage", "campaign"]),
)
def test_any_answer_is_a_verdict_or_refused(stdout, scope):
    try:
        answer = _answer(own(scope=scope), stdout)
    except ValueError:
        return
    for verdict in (answer.verdict, *(job.verdict for job in answer.jobs)):
        assert isinstance(verdict.outcome, Outcome)
        assert verdict.reason or verdict.outcome is Outcome.PASSED
        assert verdict.reason.isprintable()
        verdict.reason.encode()


PIECES = ["echo x", "printf '{'", f"echo '{PASSED}'", "exec >&-", "exec 2>&-", "exec <&-", "sleep 30 &", "false",
          "kill -TERM $$", "cat >/dev/null", "yes | head -c 70000", "cat", "setsid sleep 1 &", "exit 2", "echo e >&2"]  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(PIECES), max_size=5))
def test_any_script_ends_and_leaves_no_pipe(pieces):
    before = len(list(Path("/proc/self/fd").iterdir()))
    started = time.monotonic()
    run_bounded(
        ["/bin/sh", "-c", "\n".join(pieces)], stdin=b"y" * 200_000, timeout_s=5,
        environment={"PATH": os.defpath}, folder="/",
    )  # fmt: skip
    assert time.monotonic() - started < 7
    assert len(list(Path("/proc/self/fd").iterdir())) <= before  # fewer where garbage was collected
