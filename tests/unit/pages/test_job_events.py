"""HTCondor's events on a job's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.progress import job_events as module
from include.progress.job_events import MOST, job_events
from prodsys_operators.pages.source import recent

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.unit.pages.conftest import Pages

JOB = "/campaigns/demo.z/jobs/1/2"
LOG = """\
000 (001.002.000) 2026-11-24 10:00:00 Job submitted from host: <127.0.0.1:9618>
...
000 (001.003.000) 2026-11-24 10:00:00 Job submitted from host: <127.0.0.1:9618>
...
006 (001.002.000) 2026-11-24 10:01:00 Image size of job updated: 8
...
012 (001.002.000) 2026-11-24 10:02:07 Job was held.
\t<script>alert(1)</script> memory usage exceeded request_memory
\tCode 34 Subcode 0
...
"""


def test_a_jobs_page_tells_its_events_as_text(pages: Pages, tmp_path: Path) -> None:
    assert "Events" not in pages.get(JOB).text
    assert pages.get(f"{JOB}/events.json").status_code == 404
    job = pages.ledger.job_of(1, 2)
    place = pages.ledger.job_place("demo.z", 1, 2)
    assert job is not None
    assert place is not None
    log = tmp_path / "job.1.log"
    log.write_text(LOG.replace("001.002", f"{job.cluster:03}.{job.process:03}"))
    pages.ledger.record_event_logs(place.tag, {(job.schedd, job.cluster): str(log)})
    recent.clear()
    page = pages.get(JOB).text
    assert "Job was held." in page
    assert ":02:07" in page, "to the second, to be compared with logs"
    assert "memory usage exceeded request_memory" in page
    assert "<script>alert" not in page
    told = pages.get(f"{JOB}/events.json").json()
    assert [each["code"] for each in told["events"]] == [0, 12]
    log.unlink()
    recent.clear()
    assert "it may be on the schedd&#39;s machine alone" in pages.get(JOB).text


def test_what_cannot_be_read_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "job.log"
    log.write_text("".join(f"028 (7.0.0) 2026-11-24 10:00:00 ad {n}\n...\n" for n in range(MOST + 5)))
    found = job_events(str(log), cluster=7, process=0)
    assert (len(found.events), found.events[-1].text) == (MOST, f"ad {MOST + 4}")
    assert found.problem == f"the first 5 of {MOST + 5} events are left out"
    monkeypatch.setattr(module, "LARGEST", 10)
    assert "too many to read" in job_events(str(log), cluster=7, process=0).problem
    for path in ("job.log", "/a\x00b"):
        assert job_events(path, cluster=7, process=0).problem == "its path is not absolute"
    assert job_events(str(tmp_path), cluster=7, process=0).problem
