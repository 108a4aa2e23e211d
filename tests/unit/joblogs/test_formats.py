"""What wrappers say of themselves, from logs that are whole, failed, cut and junk."""

from __future__ import annotations

import gzip
import hashlib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.joblogs import finder, formats
from include.joblogs.formats import LogFacts, facts_of_blocks, read_facts, understand
from include.joblogs.mu2e_log import Mu2eGridLog, Outcome
from include.joblogs.scanner import Pattern, Scanner

EXAMPLES = Path(__file__).parent / "examples"
OK = (EXAMPLES / "mu2e_ok.log").read_bytes()


def mu2e(log: bytes) -> Mu2eGridLog:
    """Return a mu2egrid log's facts."""
    found = facts_of_blocks([log]).mu2e
    assert found is not None
    return found


def said(log: bytes, line: int) -> str:
    """Return a line of a log."""
    return log.decode().split("\n")[line - 1].strip()


def test_a_good_mu2e_log() -> None:
    facts = read_facts(str(EXAMPLES / "mu2e_ok.log"))
    found = facts.mu2e
    assert found is not None
    assert (found.outcome, found.code) == (Outcome.OK, 0)
    assert found.why() == (
        "both OK lines are there, the last at line 24,"
        " and the self-check of the manifest of 2 files holds"
    )  # fmt: skip
    texts = {name: getattr(found, name).value for name in ("host", "site", "orig_fcl", "command", "disk_kb")}
    assert texts == {
        "host": "wn042.example.edu",
        "site": "ExampleSite",
        "orig_fcl": "/pnfs/mu2e/persistent/users/mu2epro/fcl/000/cnf.mu2epro.beam.v1.001202_00000003.fcl",
        "command": "/usr/bin/time mu2e -c mu2e.fcl",
        "disk_kb": 204800,
    }
    assert found.ended == 1795482800
    assert found.manifest is not None
    assert [(file.name, file.size, file.sha256) for file in found.manifest.files] == [
        ("sim.mu2e.beam.v1.001202_00000003.art", 1048576, hashlib.sha256(b"art").hexdigest()),
        ("sim.mu2e.beam.v1.001202_00000003.art.json", 812, hashlib.sha256(b"json").hexdigest()),
    ]
    for file in found.manifest.files:
        assert said(OK, file.line) == f"{file.sha256}  {file.name}"
    assert facts.art is not None
    assert (facts.art.passed, facts.art.failed, facts.art.cpu_s, facts.art.wall_s) == (93, 7, 600.25, 612.5)
    assert (facts.art.peak_mb, facts.art.resident_mb) == (2105.34, 1432.12)
    assert facts.art.events is not None
    assert facts.art.events.value == 100
    (usage,) = facts.times
    assert (usage.user_s, usage.system_s, usage.elapsed_s, usage.max_rss_kb) == (
        598.11,
        4.02,
        612.51,
        1432120,
    )
    assert facts.jobsub is None


def test_every_fact_names_its_line() -> None:
    for name in ("mu2e_ok.log", "mu2e_failed.log"):
        log = (EXAMPLES / name).read_bytes()
        found = mu2e(log)
        for field in (
            "host",
            "site",
            "orig_fcl",
            "job_name",
            "job_index",
            "command",
            "art_status",
            "exit_status",
            "error",
        ):
            fact = getattr(found, field)
            if fact is not None:
                assert fact.text == said(log, fact.line)
                assert field in {"error", "art_status"} or str(fact.value) in fact.text


def test_a_failed_mu2e_log() -> None:
    facts = read_facts(str(EXAMPLES / "mu2e_failed.log"))
    found = facts.mu2e
    assert found is not None
    assert (found.outcome, found.code) == (Outcome.FAILED, 20)
    assert found.why() == "exit code 20, line 22: Error from $timecmd mu2e -c $localFCL: exit code 20"
    assert found.job_index is not None
    assert found.job_index.value == 17
    assert found.command is not None
    assert found.command.value == "/usr/bin/time mu2e -c mu2e.fcl"
    assert facts.art is not None
    (severe,) = facts.art.severe
    assert (severe.value, severe.line) == ("cet::exception caught in art", 13)
    (usage,) = facts.times
    assert (usage.exit_status, usage.signal, usage.max_rss_kb) == (20, None, 532120)


@pytest.mark.parametrize(
    ("until", "why"),
    [
        (b"Running the command", "the payload never started"),
        (b"Art has completed", "the log ends without 'mu2egrid exit status'"),
        (b"mu2eprodsys diskUse", "but there is no manifest"),
        (b"# mu2egrid manifest selfcheck", "has no self-check: the log is cut"),
    ],
)
def test_a_cut_mu2e_log_is_not_complete(until: bytes, why: str) -> None:
    found = mu2e(OK[: OK.index(until)])
    assert found.outcome is Outcome.NOT_COMPLETE
    assert why in found.why()


def test_a_changed_byte_breaks_the_self_check() -> None:
    for place in (OK.index(b"100th"), OK.index(b"1048576")):
        found = mu2e(OK[:place] + b"9" + OK[place + 1 :])
        assert found.outcome is Outcome.NOT_COMPLETE
        assert "the log was changed" in found.why()


def test_a_script_that_is_printed_is_no_ending() -> None:
    log = (
        b'mu2ejobsub jobindex = 3\n    echo "mu2egrid exit status $? on $(date)"\n'
        b'    echo "Error from $BASH_COMMAND: exit code $ret"\n'
    )
    found = mu2e(log)
    assert (found.exit_status, found.error) == (None, None)


def test_jobsub_cut_and_signal() -> None:
    found = read_facts(str(EXAMPLES / "jobsub_cut.log"))
    assert found.jobsub is not None
    assert found.mu2e is None
    told = {
        name: getattr(found.jobsub, name).value
        for name in ("executable", "exit_status", "signal", "cut_after", "resumed")
    }
    assert told == {
        "executable": "./gen.sh -n 100",
        "exit_status": 143,
        "signal": "TERM",
        "cut_after": 1_000_000,
        "resumed": 4_000_000,
    }


def test_the_long_form_of_time() -> None:
    (usage,) = read_facts(str(EXAMPLES / "time_long.log")).times
    assert (usage.user_s, usage.system_s, usage.elapsed_s) == (1234.56, 7.8, 3723.0)
    assert (usage.max_rss_kb, usage.exit_status, usage.signal, usage.line) == (4194304, 0, 9, 2)


def test_a_log_packed_and_a_log_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "log.gz"
    path.write_bytes(gzip.compress(OK))
    assert read_facts(str(path)).mu2e == mu2e(OK)
    assert read_facts(str(tmp_path / "none")).problem == "there is no such file"


def test_one_pass_for_patterns_and_facts() -> None:
    path = str(EXAMPLES / "auth_failed.log")
    scanner = Scanner([Pattern(name="auth", literals=("Auth failed",))])
    assert understand(path, scanner) == (scanner.scan(path), read_facts(path))


def test_a_line_that_comes_too_often_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_FOUND", 100)
    found = facts_of_blocks([b"received signal TERM\n" * 500])
    assert "'received signal' stands in it 100 times or more" in found.problem


LINES = OK.decode().splitlines(keepends=True)
for _name in ("mu2e_failed.log", "jobsub_cut.log", "time_long.log", "auth_failed.log"):
    LINES += (EXAMPLES / _name).read_text().splitlines(keepends=True)
LOGS = st.lists(
    st.one_of(
        st.sampled_from(LINES),
        st.text(max_size=10),
        st.sampled_from(["\n", "\r\n", "\0", "%MSG-s ", "# mu2egrid"]),
    ),
    max_size=50,
).map(lambda parts: "".join(parts).encode())
SMALL = {"PIECE": 700, "BEFORE": 200, "AFTER": 900, "_MARGIN": 1200, "_TAIL": 200, "_FEW": 8}


@settings(max_examples=200, deadline=None)
@given(log=LOGS, cuts=st.lists(st.integers(0, 5000), max_size=6))
def test_blocks_do_not_matter(log: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    blocks = [log[start:end] for start, end in pairwise(bounds)]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(finder, name, value)
        pieces: LogFacts = facts_of_blocks(blocks)
        patch.setattr(finder, "PIECE", 1 << 20)
        whole = facts_of_blocks([log])
    assert pieces == whole
    if whole.mu2e is not None:
        assert whole.mu2e.why()
        manifest = whole.mu2e.manifest
        if manifest is not None and manifest.computed is not None:
            ends = [at for at in range(len(log)) if log.startswith(b"# mu2egrid manifest selfcheck", at)]
            assert manifest.computed in {hashlib.sha256(log[:at]).hexdigest() for at in ends}


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500), st.integers(0, 2070))
def test_junk_within_never_raises(junk: bytes, at: int) -> None:
    facts = facts_of_blocks([OK[:at] + junk + OK[at:]])
    assert facts.mu2e is None or facts.mu2e.why()
