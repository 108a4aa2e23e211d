"""What proves a double run: the scenarios that were seen on a real pool, and logs that are junk."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.joblogs.event_log import MAX_DETAILS, EventCode, EventLog, events
from include.joblogs.job_history import Again, Exit, Histories, JobHistory, histories, histories_of

EXAMPLES = Path(__file__).parent / "examples"
NAMES = (
    "once", "held_released", "node_lost", "shadow_killed", "reconnected", "rolled_back", "evicted", "retried",
    "aborted_after_end", "removed", "held_now", "running", "killed",
)  # fmt: skip


@pytest.fixture(scope="module")
def jobs() -> dict[str, JobHistory]:
    """Return scenario → what its log tells."""
    found = histories(str(EXAMPLES / "double_runs.log"))
    assert (found.problem, found.skipped) == ("", 0)
    assert set(found) == {(123, process) for process in range(len(NAMES))}
    return {name: found[123, process] for process, name in enumerate(NAMES)}


@pytest.mark.parametrize(
    ("name", "starts", "terminated", "codes", "again"),
    [
        ("once", 1, 1, [1, 5], []),
        ("held_released", 2, 1, [1, 4, 12, 13, 1, 5], [Again.HELD]),
        ("node_lost", 2, 1, [1, 22, 24, 4, 1, 5], [Again.NODE_LOST]),
        ("shadow_killed", 2, 1, [1, 1, 5], [Again.SHADOW_LOST]),
        ("reconnected", 1, 1, [1, 22, 23, 5], []),
        ("rolled_back", 2, 2, [1, 5, 22, 24, 1, 5], [Again.ROLLED_BACK]),
        ("evicted", 2, 1, [1, 4, 1, 5], [Again.EVICTED]),
        ("retried", 2, 1, [1, 4, 1, 5], [Again.REQUEUED]),
        ("aborted_after_end", 1, 1, [1, 5, 9], []),
        ("removed", 0, 0, [9], []),
    ],
)
def test_scenarios(
    jobs: dict[str, JobHistory], name: str, starts: int, terminated: int, codes: list[int], again: list[Again]
) -> None:
    job = jobs[name]
    assert (job.starts, job.terminated) == (starts, terminated)
    assert [code for code, _ in job.sequence] == [0, *codes]
    assert [restart.why for restart in job.restarts] == again
    assert job.ran_more_than_once == (starts > 1)
    assert job.completed_more_than_once == (terminated > 1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("once", "ran once, ended once"),
        ("shadow_killed", "ran twice, ended once; started again at line 91 because the shadow was killed"),
        ("rolled_back", "because it had ended before the job queue was rolled back (events 005, 022, 024)"),
        ("reconnected", "the connection was lost and made again (events 022, 023): still the same run"),
        ("held_now", "ran once, never ended; it is held: Job exceeded allowed wall time"),
        ("removed", "never ran; it was removed: via condor_rm (by user prod)"),
        ("aborted_after_end", "ran once, ended once; it was removed (event 009) as well as ended"),
        ("running", "ran once, never ended; its end is not in this log"),
    ],
)  # fmt: skip
def test_why(jobs: dict[str, JobHistory], name: str, sentence: str) -> None:
    assert sentence in jobs[name].why()


def test_holds_and_exits_are_told_with_their_lines(jobs: dict[str, JobHistory]) -> None:
    lines = (EXAMPLES / "double_runs.log").read_text().split("\n")
    (hold,) = jobs["held_released"].holds
    assert (hold.code, hold.subcode) == (34, 102)
    assert hold.reason == "Job has gone over cgroup memory limit of 2048 megabytes"
    assert lines[hold.line - 1].startswith("012 (123.001.000)")
    (killed,) = jobs["killed"].exits
    assert (killed.code, killed.signal, killed.requeued) == (None, 9, False)
    retry, end = jobs["retried"].exits
    assert (retry.code, retry.requeued, end.code) == (20, True, 0)
    assert jobs["node_lost"].hosts == ("slot1_1@wn1.example.edu", "slot1_1@wn2.example.edu")
    for job in jobs.values():
        for code, line in job.sequence:
            assert lines[line - 1].startswith(f"{code:03d} (123.{job.process:03d}.000)")


def test_a_packed_log_reads_alike(tmp_path: Path, jobs: dict[str, JobHistory]) -> None:
    path = tmp_path / "events.log.gz"
    path.write_bytes(gzip.compress((EXAMPLES / "double_runs.log").read_bytes()))
    assert list(histories(str(path)).values()) == list(jobs.values())


def test_old_dates_get_the_year_in_which_they_were_past() -> None:
    path = str(EXAMPLES / "old_dates.log")
    for now, year in ((datetime(2026, 11, 25), 2026), (datetime(2026, 3, 1), 2025)):  # noqa: DTZ001  local time
        first, *_ = EventLog(path, not_after=now.timestamp())
        assert first.time == datetime(year, 11, 24, 0, 0, 1).timestamp()  # noqa: DTZ001
    assert next(events([Path(path).read_bytes()])).time is None


@pytest.mark.parametrize(
    "date", ["2026-11-24 01:02:03Z", "2026-11-24T03:02:03.123+02:00", "2026-11-24 06:32:03+0530"]
)
def test_dates_with_a_zone(date: str) -> None:
    (event,) = events([f"005 (1.000.000) {date} Job terminated.\n...\n".encode()])
    assert event.time == datetime(2026, 11, 24, 1, 2, 3, tzinfo=UTC).timestamp()


@pytest.mark.parametrize("date", ["2026-13-45 99:99:99", "02/30 01:02:03", "0000-00-00 00:00:00"])
def test_dates_that_are_none(date: str) -> None:
    (event,) = events([f"005 (1.000.000) {date} Job terminated.\n...\n".encode()], not_after=1e9)
    assert event.time is None


def test_a_cut_log_a_lost_end_and_junk_between() -> None:
    log = (
        b"\x00\xffjunk\n001 (7.003.000) 2026-11-24 01:02:03 Job executing on host: <h>\n"
        b"005 (7.003.000) 2026-11-24 01:02:04 Job terminated.\r\n"
        b"\t(1) Normal termination (return value 3)\r\n"
        b"...\r\nmore junk\n012 (7.003.000) 2026-11-24 01:02:05 Job was he"
    )
    found = list(events([log]))
    assert [(event.code, event.line, event.complete) for event in found] == [
        (1, 2, False), (5, 3, True), (12, 7, False),
    ]  # fmt: skip
    job = histories_of(found)[7, 3]
    assert job.exits == (Exit(line=3, time=found[1].time, code=3, signal=None, requeued=False),)


def test_memory_is_bounded() -> None:
    endless = b"001 (1.0.0) 2026-11-24 01:02:03 Job executing\n" + b"\tdetail\n" * 100_000
    (event,) = events([endless])
    assert len(event.details) == MAX_DETAILS
    many = b"".join(b"001 (%d.0.0) 2026-11-24 01:02:03 Job executing\n...\n" % job for job in range(50))
    found = histories_of(events([many * 100]), max_jobs=10)
    assert len(found) == 10
    assert found.problem == "it has more than 10 jobs: 4000 events of the others were left out"
    assert found[0, 0].starts == 100
    assert len(found[0, 0].restarts) == len(found[0, 0].sequence) == 20


def test_no_log_and_events_of_the_cluster(tmp_path: Path) -> None:
    assert histories(str(tmp_path / "none")).problem == "there is no such file"
    (event,) = events([b"035 (123.-01.-01) 2026-11-24 01:02:03 Cluster submitted\n...\n"])
    assert (event.code, event.process) == (35, -1)
    assert histories_of([event]) == Histories()


CODES = st.sampled_from([*EventCode, 28, 999])
PARTS = st.one_of(
    st.builds("{:03d} (1.{:03d}.000) 2026-11-24 01:02:03 text".format, CODES, st.integers(0, 2)),
    st.sampled_from(
        [
            "...",
            "",
            "\t(1) Normal termination (return value 99999999999999)",
            "\tCode 1 Subcode x",
            "Code 34 Subcode 0",
            "\t(0) Job terminated and was requeued",
            "001 (1.000.000) 11/24",
            "\x00\x1b[",
        ]
    ),
    st.text(max_size=20),
)


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(PARTS, max_size=40), end=st.sampled_from(["\n", "\r\n"]), cut=st.integers(0, 2000))
def test_any_order_of_events_is_told(parts: list[str], end: str, cut: int) -> None:
    log = end.join(parts).encode()
    found = histories_of(events([log[:cut], log[cut:]]))
    assert found == histories_of(events([log]))
    for job in found.values():
        assert job.why()
        assert job.starts >= 1 or not job.ran_more_than_once
        assert len(job.restarts) == min(20, max(0, job.starts - 1))
