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

    from include.triage.failure import Diagnosis, Failure

RULES = load_rules()
TEXTS = [text for rule in RULES.rules for each in rule.rule.when for log in each.log for text in log.text]
TRACEBACK = "Traceback (most recent call last):\nKeyError: 'tracks'\n"
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
    read = [one for one in said if not one.evidence.startswith("not read; as in ")]
    assert len(read) == classify.LOGS_A_GROUP + classify.MORE_LOGS_A_GROUP
    assert any(one.failure.process > 900 for one in read), "spread over all"
    other = next(one for one in said if one not in read)
    assert other.evidence == f"not read; as in 41.0@ap1: {tmp_path}/0.log:1: free(): invalid pointer"
    assert said[other.failure.process] is other, "in the order given"


def not_read(said: list[Diagnosis]) -> list[Diagnosis]:
    return [one for one in said if one.evidence.startswith("not read; as in ")]


def test_a_budget_of_bytes(triage: Triage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classify, "BYTES_A_GROUP", 100)
    said = triage.diagnose(failures(tmp_path, 100))
    assert len(not_read(said)) == 100 - classify.LEAST_LOGS
    read = {one.failure.process for one in said} - {one.failure.process for one in not_read(said)}
    assert min(read) < 25, "spread over all"
    assert max(read) > 75
    assert {one.remedy for one in said} == {Remedy.NONE}


def test_too_few_logs_decide_no_remedy(
    triage: Triage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classify, "LOGS_A_GROUP", 10)
    monkeypatch.setattr(classify, "MORE_LOGS_A_GROUP", 5)
    said = triage.diagnose(failures(tmp_path, 40))
    assert {one.remedy for one in not_read(said)} == {Remedy.SAME}
    assert len(not_read(said)) == 25


def test_a_mixed_sample_condemns_nobody_unread(triage: Triage, tmp_path: Path) -> None:
    some = [replace(one, **_ended(1)) for one in failures(tmp_path, 1000, TRACEBACK)]
    for process in range(550, 1000):
        (tmp_path / f"{process}.log").write_text("curl: (7) Connection refused\n")
    said = triage.diagnose(some)
    unread = not_read(said)
    assert len(unread) == 700
    assert {one.remedy for one in unread} == {Remedy.SAME}
    condemned = [one.failure.process for one in said if one.remedy is Remedy.NONE]
    assert condemned
    assert max(condemned) < 550, "only what was read and is bad code"


def test_one_that_was_not_read_has_its_own_numbers(triage: Triage, tmp_path: Path) -> None:
    some = failures(tmp_path, 320, "terminate called after throwing an instance of 'std::bad_alloc'\n")
    for process, one in enumerate(some):
        assert one.ad is not None
        host = "" if process == 310 else f"slot1@wn{process}"
        ad = replace(one.ad, host=host or None, memory_mb=1000 + process)
        some[process] = replace(one, ad=ad, requested_memory_mb=5000 + process)
    for one in not_read(triage.diagnose(some)):
        process = one.failure.process
        told = f"it asked for {5000 + process} MB and used {1000 + process} MB"
        assert one.cause == f"the program ran out of memory: {told}"
        assert one.remedy is Remedy.MORE_MEMORY


def test_what_is_known_without_a_log_is_not_taken_from_others(triage: Triage, tmp_path: Path) -> None:
    some = [replace(one, **_ended(137)) for one in failures(tmp_path, 320, "nothing\n")]
    for process, one in enumerate(some):
        assert one.ad is not None
        used = 1990 if process == 319 else 100
        some[process] = replace(one, ad=replace(one.ad, memory_mb=used), requested_memory_mb=2000)
    said = {one.failure.process: one for one in triage.diagnose(some)}
    unread = not_read(list(said.values()))
    assert {one.rule for one in unread} == {"killed"}
    assert said[319].rule == "ended-out-of-memory"


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
