"""Every route that acts: who may use it, what it refuses, and what it records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from prodsys_operators.pages import acts
from tests.ledger_records import TRANCHE
from tests.progress_ledger import HOSTILE

if TYPE_CHECKING:
    from tests.unit.pages.conftest import Pages

NODE = {"kind": "node", "name": "wn9.example", "why": "it eats jobs", "lasts": "2 h"}


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "http://evil.example"},
        {"x": "y"},
    ],
)
def test_a_form_of_another_site_is_refused(pages: Pages, headers: dict[str, str]) -> None:
    answer = pages.post("/nodes/exclude", NODE, **headers)
    assert answer.status_code == 403
    assert pages.ledger.exclusions(0, all=True) == [] or NODE["name"] not in {
        each.name for each in pages.ledger.exclusions(0, all=True)
    }


def test_who_may_edit_nothing_does_nothing(pages: Pages) -> None:
    assert pages.post("/nodes/exclude", NODE, who="bob").status_code == 403
    assert "Exclude a node" not in pages.get("/nodes", who="bob").text
    answer = {
        "dag_run_id": "manual__z+00:00", "tranche": TRANCHE, "stage": "gen", "slice_index": 0,
        "choice": "Stop",
    }  # fmt: skip
    assert pages.post("/campaigns/demo.z/answer", answer, who="bob").status_code == 403
    assert pages.post("/campaigns/demo.secret/answer", answer).status_code == 403
    assert pages.post("/campaigns/~/answer", answer).status_code == 404
    page = pages.get("/campaigns/demo.z/triage", who="bob").text
    assert "what now?" in page
    assert '<form method="post"' not in page


@pytest.mark.parametrize("act", ["exclude", "lift"])
def test_who_may_edit_another_dag_but_no_campaign_acts_on_no_node(pages: Pages, act: str) -> None:
    assert pages.post(f"/nodes/{act}", NODE, who="cat").status_code == 403
    assert "Exclude a node" not in pages.get("/nodes", who="cat").text
    assert "Exclude a node" in pages.get("/nodes").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "pool"},
        {"name": "a b;"},
        {"why": "  "},
        {"lasts": "soon"},
        {"lasts": "900 d"},
        {"lasts": "0 s"},
    ],
)
def test_a_wrong_exclusion_is_refused(pages: Pages, wrong: dict[str, str]) -> None:
    before = pages.ledger.exclusions(0, all=True)
    assert pages.post("/nodes/exclude", {**NODE, **wrong}).status_code == 422
    assert pages.ledger.exclusions(0, all=True) == before


def test_an_exclusion_is_made_and_lifted_under_the_users_name(pages: Pages) -> None:
    answer = pages.post("/nodes/exclude", NODE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/prodsys/nodes")
    page = pages.get("/nodes").text
    assert "wn9.example" in page
    assert "it eats jobs" in page
    assert pages.post("/nodes/lift", {"kind": "node", "name": "wn9.example"}).status_code == 303
    assert pages.post("/nodes/lift", {"kind": "node", "name": "wn9.example"}).status_code == 404
    done = [(each.who, each.kind.value) for each in pages.ledger.actions() if "wn9" in each.detail]
    assert done == [("ann", "exclude"), ("ann", "lift")]


def test_what_a_form_says_makes_no_lines_in_the_log(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(acts, "update_hitl_detail", lambda **_: None)
    answer = {
        "dag_run_id": "manual__z+00:00", "tranche": "t\nforged", "stage": "gen\nforged", "slice_index": 0,
        "choice": "Stop",
    }  # fmt: skip
    with caplog.at_level("INFO", logger=acts.__name__):
        assert pages.post("/campaigns/demo.z/answer", answer).status_code == 303
    (line,) = [each.getMessage() for each in caplog.records if each.name == acts.__name__]
    assert "answered 'Stop'" in line
    assert "\n" not in line


def test_a_question_that_airflow_does_not_ask_is_not_answered(pages: Pages) -> None:
    answer = {
        "dag_run_id": "manual__z+00:00", "tranche": TRANCHE, "stage": "gen", "slice_index": 0,
        "choice": "Stop",
    }  # fmt: skip
    assert pages.post("/campaigns/demo.z/answer", answer).status_code == 404
    assert pages.post("/campaigns/demo.z/answer", {**answer, "choice": HOSTILE}).status_code == 422
