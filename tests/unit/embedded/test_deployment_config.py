"""When a deployment starts its Airflow anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from embedded.code_digest import code_digest
from embedded.deployment import CHECKOUT, Deployment

if TYPE_CHECKING:
    from pathlib import Path


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
