# ruff: noqa: E501 - lines of logs and of rule files
"""First cause, not last line: traps that real logs set."""

from __future__ import annotations

import pytest

from include.campaign.states import HoldAction, Remedy
from include.triage.classify import Triage, removal_reason, to_record
from include.triage.conditions import Example
from include.triage.examples import failure_of, judged

FAR = "event\n" * 200
TRAPS = {
    "authentication, not a missing file": (
        {"exit": 20, "log": "a\n[FATAL] Auth failed: No protocols left to try\nb\nError: file was not found\n"},
        "auth-failed", ":2:",
    ),
    "a schema mismatch, not a crash or a missing file": (
        {"exit": 139, "log": "Warning in <TStreamerInfo::BuildCheck>: The StreamerInfo of class A\n"
         "---- FileOpenError BEGIN\n *** Break *** segmentation violation\n"},
        "root-schema", ":1:",
    ),
    "a crash after a network error that was survived": (
        {"exit": 134, "log": f"[ERROR] Operation expired\n{FAR}free(): invalid pointer\n"}, "glibc-abort", ":202:",
    ),
    "the network error itself, survived once and then not": (
        {"exit": 139, "log": f"[ERROR] Operation expired\n{FAR}[ERROR] Operation expired\n"
         " *** Break *** segmentation violation\n"}, "xrootd-expired", ":202:",
    ),
    "SIGKILL with memory to spare": ({"signal": 9, "memory_mb": 100, "requested_mb": 2000}, "killed", ""),
    "SIGKILL at the limit": ({"signal": 9, "memory_mb": 1900, "requested_mb": 2000}, "ended-out-of-memory", ""),
    "SIGSEGV is code": ({"signal": 11}, "crash", ""),
    "SIGBUS is the node": ({"signal": 7}, "bus-error", ""),
    "SIGBUS with CVMFS in the trace": (
        {"signal": 7, "log": "#1 f() from /cvmfs/a.b.c/lib.so\n"}, "bus-error-cvmfs", ":1:",
    ),
    "20 by art is an input": (
        {"exit": 20, "log": "Art has completed and will exit with status 20.\n"}, "art-file-open", "",
    ),
    "20 by a script is anything": ({"exit": 20, "log": "bye\n"}, "", ":1: bye"),
    "19 by mu2egrid is not art's": ({"exit": 19, "log": "mu2egrid exit status 19 on x\n"}, "mu2egrid-tools", ""),
    "art went well, then the wrapper failed": (
        {"exit": 23, "log": "Begin processing the 1st\nArt has completed and will exit with status 0.\n"
         "mu2egrid exit status 23 on x\n"}, "mu2egrid-outstage", "",
    ),
    "81 by a script is not prodsys_job's": ({"exit": 81, "log": "bye\n"}, "", ""),
    "81 without a report is": ({"exit": 81, "reported": False}, "inputs-not-read", ""),
    "a missing output whose cause is in the log": (
        {"exit": 82, "failed_at": "outputs", "verdict": "the script went well but an output is missing: x",
         "log": "cp: error writing a.root: No space left on device\n"}, "scratch-full", ":1:",
    ),
    "a missing output without one": (
        {"exit": 82, "failed_at": "outputs", "verdict": "the script went well but an output is missing: x",
         "log": "ls: No such file or directory\n"}, "output-missing", "",
    ),
    "spooling is no error": ({"status": "held", "hold": "16/0"}, "held-spooling", "HoldReasonCode=16/0"),
    "held for wall time transfers no log": (
        {"status": "held", "hold": "47/0", "reason": "duration"}, "held-time", "HoldReasonCode=47/0",
    ),
    "the first of two chained Python exceptions": (
        {"exit": 1, "log": "Traceback (most recent call last):\nModuleNotFoundError: No module named 'a'\n"
         "During handling of the above exception, another exception occurred:\n"
         "Traceback (most recent call last):\nNameError: b\n"}, "python-module-missing", ":2:",
    ),
    "a traceback that the script went on after": (
        {"exit": 3, "log": f"Traceback (most recent call last):\nKeyError: 'x'\n{FAR}bye\n"}, "python-other", ":1:",
    ),
    "a network error that was survived, then a fault of the code": (
        {"exit": 1, "log": f"Connection refused\n{FAR}Traceback (most recent call last):\nKeyError: 'x'\n"},
        "python-error", ":203:",
    ),
    "the drill's bad code": (
        {"exit": 1, "log": "run 1 subrun 3: traceback \nTraceback (most recent call last):\n"
         "  File \"drill_job.py\", line 44, in fail\n    sys.stderr.write(f\"target at {geometry['target_z']}\\n\")\n"
         "KeyError: 'target_z'\nprodsys_job: gen.py ended with exit code 1\n"},
        "python-error", ":5: KeyError: 'target_z'",
    ),
    "a word of Python's in another program's log": ({"exit": 1, "log": "the KeyError: x was caught\n"}, "", ""),
}  # fmt: skip


@pytest.mark.parametrize("trap", TRAPS)
def test_traps(triage: Triage, trap: str) -> None:
    given, rule, evidence = TRAPS[trap]
    said = judged(triage, Example.model_validate(given))
    assert (said.rule, said.cause) == (rule, said.cause)
    assert evidence in said.evidence


@pytest.mark.parametrize(
    ("hold", "action", "pause", "remedy"),
    [
        ("34/102", HoldAction.RELEASE_MORE_MEMORY, 0, Remedy.MORE_MEMORY),
        ("34/104", HoldAction.REMOVE, 0, Remedy.MORE_DISK),
        ("46/0", HoldAction.REMOVE, 0, Remedy.MORE_TIME),
        ("13/0", HoldAction.RELEASE, 600, Remedy.SAME),
        ("12/0", HoldAction.RELEASE, 600, Remedy.SAME),
        ("6/2", HoldAction.RELEASE, 300, Remedy.OTHER_NODE),
        ("6/8", HoldAction.PERSON, 0, Remedy.NONE),
        ("1/0", HoldAction.PERSON, 0, Remedy.PERSON),
        ("77/0", HoldAction.PERSON, 0, Remedy.PERSON),
    ],
)
def test_hold_classes(triage: Triage, hold: str, action: HoldAction, pause: int, remedy: Remedy) -> None:
    said = judged(triage, Example(hold=hold, status="held", reason="x"))
    assert (said.hold, said.hold_pause_s, said.remedy) == (action, pause, remedy)


def test_what_prodsys_removed_keeps_its_cause(triage: Triage) -> None:
    held = judged(triage, Example(hold="47/0", status="held", wall="8 h", lifetime="8 h"))
    removed = judged(triage, Example(status="removed", reason=removal_reason(held)))
    assert (removed.rule, removed.cause, removed.remedy) == ("held-time", held.cause, Remedy.MORE_TIME)
    assert "[triage:held-time]" in removed.evidence
    by = judged(triage, Example(status="removed", reason=f"{removal_reason(held)} (by user prod)"))
    assert (by.rule, by.cause) == ("held-time", held.cause)


@pytest.mark.parametrize(
    "reason",
    [
        "[triage:nonsense] via condor_rm (by user x)",
        "mine [triage:held-time] (by user ann)",
        "via condor_rm (by user ann): prodsys removed it, held: x [triage:held-time]",
        "do not rerun\nprodsys removed it, held: x [triage:held-time] (by user ann)",
    ],
)
def test_a_forged_reason_does_not_count(triage: Triage, reason: str) -> None:
    forged = judged(triage, Example(status="removed", reason=reason))
    assert (forged.rule, forged.remedy) == ("removed-by-person", Remedy.PERSON)


@pytest.mark.parametrize("rule", ["crash", "nonsense", "held-time] and more [triage:held-time"])
def test_a_reason_that_prodsys_cannot_have_given(triage: Triage, rule: str) -> None:
    said = judged(triage, Example(status="removed", reason=f"prodsys removed it, held: x [triage:{rule}] !"))
    assert said.rule == "removed-by-prodsys"


def test_a_hold_that_is_over_does_not_count(triage: Triage) -> None:
    said = judged(triage, Example(exit=11, hold="34/102"))
    assert said.category == "unclassified"


def test_a_record_for_the_ledger(triage: Triage) -> None:
    said = triage.one_from(failure_of(Example(signal=11)), [b""])
    record = to_record(said, at=9.0)
    assert (record.rule, record.host, record.site, record.exit_signal, record.at) == (
        "crash", "wn1.example", "Site", 11, 3.0,
    )  # fmt: skip
    assert record.evidence == "ExitSignal=11 of 41.0@ap1"
