"""What a deployment writes for Airflow before it starts."""

from __future__ import annotations

from configparser import ConfigParser
from typing import TYPE_CHECKING

import sqlalchemy as sa

from embedded.code_digest import code_digest
from embedded.deployment import CHECKOUT, LOCK_WAIT_S, Deployment

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


def test_airflow_with_other_code_is_not_what_should_run(tmp_path: Path) -> None:
    deployment = Deployment(state=tmp_path, specs=tmp_path)
    assert deployment._code_changed() is not None
    deployment._write_facts({"code": code_digest(CHECKOUT)})
    assert deployment._code_changed() is None
    deployment._write_facts({"code": "of another version"})
    assert deployment._code_changed() == "prodsys's code is not what Airflow was started with"


def test_a_digest_tells_code_apart_and_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "plugins/prodsys_operators/a.py"
    file.parent.mkdir(parents=True)
    file.write_text("x = 1\n", encoding="utf-8")
    first = code_digest(tmp_path)

    file.with_name("rules.yaml").write_text("- a\n", encoding="utf-8")
    assert code_digest(tmp_path) == first
    file.rename(file.with_name("b.py"))
    renamed = code_digest(tmp_path)
    file.with_name("b.py").write_text("x = 2\n", encoding="utf-8")

    assert len({first, renamed, code_digest(tmp_path)}) == 3
