"""Reports that are broken, foreign, cut or hostile are evidence, never an exception."""

from __future__ import annotations

import gzip
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.campaign.states import Outcome
from include.checks.evidence import gather, read_areas
from include.checks.logtail import TAIL_BYTES, last_line
from include.checks.reports import MAX_BYTES, Expected, Report, parse

if TYPE_CHECKING:
    from pathlib import Path

NAME = "41.0.1-00000000"


def reason(site) -> str:
    """Return why the only execution says nothing usable."""
    area = read_areas(site.plan, site.submission)
    assert area.reports == ()
    (item,) = area.unreadable
    assert item.folder == str(site.logs / NAME)
    return item.reason


@pytest.fixture
def site(make_site):
    """A site whose only execution was not published."""
    site = make_site()
    site.execute(0, publish=False)
    return site


def write(site, content: bytes) -> None:
    (site.logs / NAME / "report.json").write_bytes(content)


def changed(site, seal, **changes) -> None:
    document = site.document(0, execution=NAME, files=[])
    write(site, seal({**document, **changes}))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b'{"version": 1,', "it is not JSON"),
        (b"\xff\xfe\x00", "it is not JSON"),
        (b"[]", "it holds a list instead of an object"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\\ud800"}', "text that is not Unicode"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "it is not JSON"),
        (b'{"version": 1}', "its selfcheck is None"),
    ],
)
def test_broken_content(site, content, said):
    write(site, content)
    assert said in reason(site)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"version": 2}, "its version is 2, not 1"),
        ({"tag": "demo.z/t1/001001/gen/recovery-0"}, "belongs to another submission"),
        ({"execution": "41.0.2-00000000"}, "lies in the folder of 41.0.1-00000000"),
        ({"run": 1001}, "it tells of run 1001"),
        ({"first_subrun": 5, "last_subrun": 5}, "subruns 5..5, which no unit"),
        ({"first_subrun": None}, "first_subrun is None"),
        ({"process": -1}, "process is -1"),
        ({"cluster": True}, "cluster is True"),
        ({"host": "a\x00b"}, "host is"),
        ({"ended": "yesterday"}, "ended is 'yesterday'"),
        ({"started": 1e300}, "no time in epoch seconds"),
        ({"exit_code": 2**70}, "exit_code is"),
        ({"failed_at": "somewhere"}, "failed_at is 'somewhere'"),
        ({"outputs": {}}, "outputs is not a list"),
        ({"outputs": ["x"]}, "an entry of outputs is not an object"),
    ],
)
def test_foreign_and_wrong_values(site, seal, changes, said):
    changed(site, seal, **changes)
    assert said in reason(site)


@pytest.mark.parametrize("path", ["/etc/passwd", "{area}/../../x.root", "{area}/../41.0.2-00000001/x.root"])
def test_a_report_cannot_point_outside_its_own_folder(site, seal, path):
    area = site.outstage / NAME
    output = {"name": "default", "file": "x.root", "path": path.format(area=area)}
    changed(site, seal, outputs=[output])
    assert "which is not in" in reason(site)


def test_cut_report(site):
    file = site.logs / NAME / "report.json"
    write(site, file.read_bytes()[:-40])
    assert "it is not JSON" in reason(site)


def test_changed_report(site):
    file = site.logs / NAME / "report.json"
    write(site, file.read_bytes().replace(b'"exit_code": 0', b'"exit_code": 1'))
    assert "changed since" in reason(site)


def test_oversized_report_is_not_read(site):
    with (site.logs / NAME / "report.json").open("wb") as stream:
        stream.truncate(MAX_BYTES + 1)
    assert "10485761 bytes, more than 10485760" in reason(site)


def test_pipe_link_and_folder_in_place_of_a_report(site, tmp_path):
    file = site.logs / NAME / "report.json"
    file.rename(tmp_path / "report.json")
    assert "there is no report.json" in reason(site)
    os.mkfifo(file)
    assert "not a regular file" in reason(site)
    file.unlink()
    file.symlink_to(tmp_path / "report.json")
    assert "report.json cannot be read" in reason(site)
    file.unlink()
    file.mkdir()
    assert "report.json" in reason(site)


def test_foreign_folders_are_noted_and_files_ignored(site):
    (site.logs / "old").mkdir()
    (site.logs / "README").write_text("hello")
    area = read_areas(site.plan, site.submission)
    notes = gather(site.submission, ads=(), area=area).notes
    assert notes == (f"{site.logs}/old belongs to no process: its name is not that of an execution",)


def test_broken_report_of_a_job_that_the_ad_calls_failed(site, ad_of):
    write(site, b"{")
    site.ads = [ad_of(0, exit_code=81)]
    verdict = site.judge().units[0].verdicts[-1]
    assert verdict.outcome is Outcome.FAILED
    assert verdict.reason.startswith(
        "exit code 81 by the ad, without a report: its inputs could not be read "
        "(41.0.1-00000000: report.json does not"
    )
    assert verdict.evidence.endswith("job.log:1: all went well")


def test_a_report_without_subruns_is_placed_by_its_process(site, seal):
    changed(
        site,
        seal,
        first_subrun=None,
        last_subrun=None,
        failed_at="inputs",
        error="job.json: no",
        exit_code=None,
    )
    reason = site.judge().units[0].verdicts[-1].reason
    assert reason == "inputs could not be read: job.json: no (but the ad says exit code 0)"


def test_no_area_is_no_evidence(make_site):
    site = make_site()
    area = read_areas(site.plan, site.submission)
    assert (area.reports, area.unreadable, area.listed) == ((), (), False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = [
    "process",
    "cluster",
    "run",
    "first_subrun",
    "outputs",
    "started",
    "exit_code",
    "error",
    "schedd",
    "version",
]


def never_crashes(data: bytes, expected: Expected) -> None:
    with suppress(ValueError):
        report = parse(data, file=f"{expected.logs}/{NAME}/report.json", expected=expected, mtime=1.0)
        assert isinstance(report, Report)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_random_bytes_and_json_never_crash(make_site, data):
    never_crashes(data, Expected.of(make_site().submission, logs="/l", outstage="/o"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.dictionaries(st.sampled_from(KEYS), json_values, max_size=3))
def test_random_values_in_sealed_reports_never_crash(make_site, seal, changes):
    site = make_site()
    expected = Expected.of(site.submission, logs=str(site.logs), outstage=str(site.outstage))
    document = site.document(0, execution=NAME, files=[])
    try:
        data = seal({**document, **changes})
    except UnicodeEncodeError:
        return
    never_crashes(data, expected)


def test_last_line(tmp_path: Path):
    log = tmp_path / "job.log"
    assert last_line(str(log)) == f"{log}: no such log"
    log.write_bytes(b"")
    assert last_line(str(log)) == f"{log}: the log is empty"
    log.write_bytes(b"a\nb \xff\tc\r\n  \n\n")
    assert last_line(str(log)) == f"{log}:2: b \ufffd c"
    log.write_bytes(b"x" * 5000)
    assert last_line(str(log)) == f"{log}:1: " + "x" * 200 + "…"
    log.write_bytes(b"x\n" * TAIL_BYTES + b"the end\n")
    assert last_line(str(log)) == f"{log}: the end"
    log.write_bytes(b"\n" * (TAIL_BYTES + 1))
    assert last_line(str(log)) == f"{log}: the last {TAIL_BYTES} bytes are blank"
    log.write_bytes("one\n10 %\r20 %\rdone \u202e\x1b[31mred\r\n".encode())
    assert last_line(str(log)) == f"{log}:2: done red", (
        "nothing that reorders text, the last of a progress bar"
    )
    log.write_bytes(gzip.compress(b"the end\n"))
    assert last_line(str(log)) == f"{log}: cannot be read: it is packed"
    log.unlink()
    os.mkfifo(log)
    assert last_line(str(log)) == f"{log}: cannot be read: not a regular file"


def test_a_log_of_a_terabyte_costs_no_more_than_its_tail(tmp_path: Path):
    log = tmp_path / "job.log"
    with log.open("wb") as stream:
        stream.seek(2**40)
        stream.write(b"\nthe end\n")
    start = time.monotonic()
    assert last_line(str(log)) == f"{log}: the end"
    assert time.monotonic() - start < 1
