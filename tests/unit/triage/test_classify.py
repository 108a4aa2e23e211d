"""Many failures at once: sampling, logs that cannot be read, hostile content."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.campaign.states import HoldAction, JobStatus, Outcome, Remedy
from include.checks.verdict import Verdict
from include.triage import classify
from include.triage.classify import Triage, to_record
from include.triage.conditions import Example
from include.triage.examples import failure_of
from include.triage.rulebook import load_rules

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from include.triage.failure import Failure

RULES = load_rules()
TEXTS = [text for rule in RULES.rules for each in rule.rule.when for log in each.log for text in log.text]
HOSTILE = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def failures(folder: Path, count: int, text: str = "free(): invalid pointer\n") -> list[Failure]:
    """Return failures that look alike, each with a log."""
    blank = failure_of(Example(exit=134))
    found = []
    for process in range(count):
        log = folder / f"{process}.log"
        log.write_text(text)
        found.append(replace(blank, process=process, job_id=f"41.{process}@ap1", log=str(log)))
    return found


def test_few_logs_are_all_read(triage: Triage, tmp_path: Path) -> None:
    said = triage.diagnose(failures(tmp_path, 50))
    assert [one.evidence for one in said] == [
        f"{tmp_path}/{n}.log:1: free(): invalid pointer" for n in range(50)
    ]


def test_of_many_alike_some_are_read(triage: Triage, tmp_path: Path) -> None:
    said = triage.diagnose(failures(tmp_path, 1000))
    assert {one.rule for one in said} == {"glibc-abort"}
    read = [one for one in said if not one.evidence.startswith("as in ")]
    assert len(read) == classify.LOGS_A_GROUP + classify.MORE_LOGS_A_GROUP
    assert any(one.failure.process > 900 for one in read), "spread over all"
    other = next(one for one in said if one not in read)
    assert other.evidence == f"as in 41.0@ap1: {tmp_path}/0.log:1: free(): invalid pointer"
    assert said[other.failure.process] is other, "in the order given"


def test_a_budget_of_bytes(triage: Triage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "BYTES_A_GROUP", 100)
    said = triage.diagnose(failures(tmp_path, 40))
    assert sum(not one.evidence.startswith("as in ") for one in said) == 5


def test_the_others_go_by_their_own_node(
    triage: Triage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "LOGS_A_GROUP", 2)
    monkeypatch.setattr(classify, "MORE_LOGS_A_GROUP", 0)
    some = failures(tmp_path, 4)
    (tmp_path / "1.log").write_text("cp: Input/output error\n")
    for process in (1, 3):
        ad = some[process].ad
        assert ad is not None
        some[process] = replace(some[process], ad=replace(ad, host="slot1@bad"))
    assert [one.rule for one in triage.diagnose(some)] == [
        "glibc-abort",
        "io-error",
        "glibc-abort",
        "io-error",
    ]


def test_logs_that_cannot_be_read(triage: Triage, tmp_path: Path) -> None:
    blank = failure_of(Example(signal=11))
    logs = [str(tmp_path), str(tmp_path / "none"), "/proc/self/mem", "/a\0b", ""]
    said = triage.diagnose([replace(blank, log=log) for log in logs])
    assert [one.rule for one in said] == ["crash"] * len(logs)


def test_what_no_rule_fits(triage: Triage, tmp_path: Path) -> None:
    text = "starting\nstrange thing 17 happened in /a/b\nprodsys_job: end of the log\n"
    (one,) = triage.diagnose(failures(tmp_path, 1, text)[:1])
    assert one.rule == "crash", "an abort by its signal alone"
    blank = replace(failures(tmp_path, 1, text)[0], **_ended(3))
    (one,) = triage.diagnose([blank])
    assert (one.category, one.rule, one.remedy, one.hold) == (
        "unclassified",
        "",
        Remedy.SAME,
        HoldAction.PERSON,
    )
    assert one.evidence == f"{tmp_path}/0.log:2: strange thing 17 happened in /a/b"
    assert one.signature == "strange thing <n> happened in <path>"
    assert one.cause == "no rule fits: exit code 3 from gen.py"


def _ended(code: int) -> dict[str, object]:
    like = failure_of(Example(exit=code))
    return {"ad": like.ad, "report": like.report, "verdict": like.verdict}


def test_a_failure_without_anything(triage: Triage) -> None:
    blank = failure_of(Example(exit=1))
    bare = replace(blank, ad=None, report=None, job_id="", verdict=replace(blank.verdict, reason=""))
    (one,) = triage.diagnose([bare])
    assert one.category == "unclassified"
    assert to_record(one, at=5.0).at == 5.0
    assert triage.diagnose([]) == []


PIECES = st.one_of(
    st.sampled_from(TEXTS),
    st.text(max_size=30),
    st.sampled_from(["\n", "\r\n", "\0", "\x1b[31m", "{x}", "'", "/cvmfs/a.b/c "]),
)


@HOSTILE
@given(st.lists(PIECES, max_size=30), st.integers(-300, 300), st.booleans())
def test_any_log(triage: Triage, pieces: list[str], code: int, end: bool) -> None:
    log = "".join(pieces).encode("utf-8", errors="surrogatepass") + (b"\n" if end else b"\xff")
    said = triage.one_from(failure_of(Example(exit=code, log="x")), [log[:7], log[7:]])
    check(said.cause, said.evidence, said.signature)


@HOSTILE
@given(
    st.sampled_from(list(JobStatus)), st.text(max_size=300), st.text(max_size=300),
    st.none() | st.integers(-(2**63), 2**63), st.none() | st.integers(-(2**31), 2**63),
    st.sampled_from(["exit", "outputs", "mine"]),
)  # fmt: skip
def test_any_ad(
    triage: Triage,
    status: JobStatus,
    reason: str,
    verdict: str,
    code: int | None,
    sub: int | None,
    check_name: str,
) -> None:
    blank = failure_of(Example(exit=1))
    assert blank.ad is not None
    ad = replace(
        blank.ad, status=status, hold_reason=reason, remove_reason=reason, hold_code=code, hold_subcode=sub,
        exit_code=code, exit_signal=sub, memory_mb=code, requested_memory_mb=sub, host=reason, wall_s=1e300,
    )  # fmt: skip
    told = Verdict(check=check_name, outcome=Outcome.FAILED, reason=verdict)
    (said,) = triage.diagnose([replace(blank, ad=ad, report=None, verdict=told, lifetime_s=1)])
    check(said.cause, said.evidence, said.signature)


def check(*texts: str) -> None:
    """See that what is shown is one bounded, printable line."""
    for text in texts:
        assert len(text) <= 5000
        assert "\n" not in text
        assert "\x1b" not in text
        assert "\0" not in text
        text.encode("utf-8")
