"""An empty ledger, in SQLite and in Postgres, and a first slice in it."""

from __future__ import annotations

import pytest

from include.bookkeeping.ledger import Ledger
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    intend,
)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/the ledger.db"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
        opened.upgrade()
        yield opened


@pytest.fixture
def slices(ledger):
    """Three slices of four subruns, runs 1000..1002."""
    return ledger.reserve(campaign_plan(), tranche=TRANCHE, dag_run_id="r", slices=3, now=NOW)


@pytest.fixture
def gen(ledger, slices):
    """The tag of gen's submission of four jobs in run 1000."""
    tag = intend(ledger, "gen")
    ledger.record_submitted(
        tag, clusters=[("ap1", 7, 4)], message="4 job(s) submitted to cluster 7.", now=NOW + 1
    )
    return tag


# Opening
