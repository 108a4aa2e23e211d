"""An empty ledger, in SQLite and in Postgres, and a first slice in it."""

from __future__ import annotations

import shutil

import pytest

from include.bookkeeping.ledger import Ledger
from tests.ledger_records import (
    NOW,
    TRANCHE,
    campaign_plan,
    intend,
)
from tests.postgres import database


@pytest.fixture(scope="session")
def sqlite_ledger(tmp_path_factory):
    """The file of an empty ledger of the newest revision, to be copied."""
    file = tmp_path_factory.mktemp("ledger") / "ledger.db"
    with Ledger(f"sqlite:///{file}") as made:
        made.upgrade()
    return file


@pytest.fixture(scope="session")
def postgres_ledger(postgres_server):
    """The URL of such a ledger's database."""
    with database(postgres_server) as made:
        with Ledger(made) as ledger:
            ledger.upgrade()
        yield made


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path):
    """An empty database; a copied ledger where the test asks for one: revisions take most of a test."""
    wants_ledger = "ledger" in request.fixturenames
    if request.param == "sqlite":
        file = tmp_path / "the ledger.db"
        if wants_ledger:
            shutil.copy(request.getfixturevalue("sqlite_ledger"), file)
        yield f"sqlite:///{file}"
        return
    server = request.getfixturevalue("postgres_server")
    like = {"like": request.getfixturevalue("postgres_ledger")} if wants_ledger else {}
    with database(server, **like) as made:
        yield made


@pytest.fixture
def ledger(url):
    with Ledger(url) as opened:
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
