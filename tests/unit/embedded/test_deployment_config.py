"""What a deployment writes for Airflow before it starts."""

from __future__ import annotations

from configparser import ConfigParser
from typing import TYPE_CHECKING

import sqlalchemy as sa

from embedded.deployment import LOCK_WAIT_S, Deployment

if TYPE_CHECKING:
    from pathlib import Path


def test_airflows_sqlite_waits_for_a_lock_as_long_as_a_busy_machine_needs(tmp_path: Path) -> None:
    deployment = Deployment(state=tmp_path / "a state", specs=tmp_path)
    deployment.home.mkdir(parents=True)
    deployment._write_config((1, 2, 3))
    config = ConfigParser(interpolation=None)
    config.read(deployment.home / "airflow.cfg")

    engine = sa.create_engine(config["database"]["sql_alchemy_conn"])

    with engine.connect() as connection:
        assert connection.scalar(sa.text("PRAGMA busy_timeout")) == LOCK_WAIT_S * 1000
        assert (deployment.home / "airflow.db").exists()
