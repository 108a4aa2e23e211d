"""The log of a job that has not reported: it runs, or it was killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.logserver.records import JobClaims, JobFacts, Post
from prodsys_operators.pages.source import logs, recent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.logserver.store import LogStore
    from tests.unit.pages.conftest import Pages

JOB = "/campaigns/demo.z/jobs/2/1"
SENT = b"begin\nthen the node died\n"


@pytest.fixture
def store(pages: Pages) -> Iterator[LogStore]:
    """The store that the pages read."""
    logs.cache_clear()
    with logs() as opened:
        opened.upgrade()
        recent.clear()
        yield opened
    logs.cache_clear()
    recent.clear()


def test_a_job_without_a_report_has_the_log_that_it_sent(pages: Pages, store: LogStore) -> None:
    assert "the job has sent nothing" in pages.get(JOB).text
    assert pages.get(f"{JOB}/log").status_code == 404
    place = pages.ledger.job_place("demo.z", 2, 1)
    assert place is not None
    claims = JobClaims(tag=place.tag, dag_id="demo.z", stage=place.stage, run=place.run, jobs=4)
    facts = JobFacts(first_subrun=place.first_subrun, last_subrun=place.last_subrun)
    head = {"execution": "8.1.1-0a1b2c3d", "offset": 0, "size": len(SENT), "at": 1.8e9}
    store.append([Post(claims=claims, data=SENT, facts=facts, **head)])
    recent.clear()
    page = pages.get(JOB).text
    assert "then the node died" in page
    assert f'href="/prodsys{JOB}/log"' in page
    answer = pages.get(f"{JOB}/log")
    assert (answer.status_code, answer.content) == (200, SENT)
    assert pages.get(f"{JOB}/log?execution=8.1.9-0").status_code == 404
