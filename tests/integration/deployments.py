"""Deployments for the tests: a real pool, a real Airflow, and the ledger in SQLite or Postgres."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psycopg
import pytest
import uproot

from embedded.airflow_api import AirflowApi
from embedded.deployment import CHECKOUT, Deployment
from include.bookkeeping.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from embedded.pool_config import Node

TEST_SPECS = Path(__file__).parent / "specs"
BROKEN = "version: 1\ndescription: broken on purpose\nstagse: {}\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A running deployment with its API and its ledger."""

    deployment: Deployment
    api: AirflowApi
    ledger: Ledger


def make_specs(folder: Path) -> Path:
    """Collect the specs that the tests run, and one broken one, in a folder of their own."""
    shutil.copytree(CHECKOUT / "campaign_specs" / "demo", folder / "demo")
    for name in ("faulty", "drill", "overlap", "logs", "launched"):
        shutil.copytree(TEST_SPECS / name, folder / name)
    (folder / "broken").mkdir()
    (folder / "broken" / "typo.yaml").write_text(BROKEN, encoding="utf-8")
    return folder


def make_drill_files(folder: Path, sizes: dict[int, int]) -> None:
    """Make the files that the drill's jobs copy: run → subruns, 10 events each, and 9 in the short ones."""
    for name in ("marks", "ready"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for run, subruns in sizes.items():
        for subrun in range(subruns):
            for events, name in ((10, ""), (9, ".short")):
                columns = {
                    "run": np.full(events, run, dtype="i4"),
                    "subrun": np.full(events, subrun, dtype="i4"),
                    "event": np.arange(1, events + 1, dtype="i4"),
                }
                with uproot.recreate(folder / "ready" / f"{run}_{subrun}{name}.root") as file:
                    file.mktree("events", columns)


def condor(site: Site, *words: str) -> str:
    """Run one of HTCondor's commands on the site's pool and return its output."""
    return subprocess.run(
        words, env=site.deployment.environment(), capture_output=True, text=True, check=True, timeout=60
    ).stdout


def run_site(
    state: Path,
    *,
    ledger: str = "",
    metadata: str = "",
    nodes: tuple[Node, ...] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[Site]:
    """Start a deployment, yield it, stop it; its pool has the default nodes unless others are given."""
    more: dict[str, Any] = {"nodes": nodes} if nodes else {}
    deployment = Deployment(
        state=state,
        specs=make_specs(state / "specs"),
        ledger=ledger,
        metadata=metadata,
        **more,
        ports=(0, 0, 0),  # tests of several checkouts may run at once
        extra_environment={
            "AIRFLOW__PRODSYS__POLL_INTERVAL": "1",
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",  # a second try would have a log of its own
            **(environment or {}),
        },
    )
    try:
        deployment.start()
        with AirflowApi(deployment) as api, Ledger(deployment.ledger_url) as opened:
            yield Site(deployment=deployment, api=api, ledger=opened)
    finally:
        deployment.stop()


@pytest.fixture(scope="session")
def sqlite_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A deployment as `make demo` makes it, in a folder with a space in its name."""
    yield from run_site(tmp_path_factory.mktemp("a site with spaces") / "state")


def make_database(server: str, name: str, driver: str) -> str:
    """Create a database, and return its URL for `driver`."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?").replace("postgresql:", f"postgresql+{driver}:")


@pytest.fixture(scope="session")
def postgres_site(tmp_path_factory: pytest.TempPathFactory, postgres_server: str) -> Iterator[Site]:
    """A deployment whose ledger and Airflow database are in Postgres."""
    yield from run_site(
        tmp_path_factory.mktemp("postgres-site") / "state",
        ledger=make_database(postgres_server, "ledger", "psycopg"),
        metadata=make_database(postgres_server, "airflow", "psycopg2"),
    )
