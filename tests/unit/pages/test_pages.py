"""Every route that shows: who may see it, what hostile text becomes, what its headers say."""

from __future__ import annotations

import csv
import io
import re
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import pytest

from include.progress.job_log import LogTail
from prodsys_operators.pages import job_views
from prodsys_operators.pages.source import pinned, recent
from tests.ledger_records import TRANCHE

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.bookkeeping.overview_records import JobPlace
    from include.bookkeeping.records import ExecutionRecord
    from tests.unit.pages.conftest import Pages

OF_ALL = (
    "/campaigns",
    "/campaigns.json",
    "/campaigns.csv",
    "/nodes",
    "/nodes.json",
    "/nodes.csv",
    "/search?q=1000",
)
OF_CAMPAIGN = (
    "", "/campaign.json", "/curve.json", "/curve.csv", "/slices.csv", "/triage", "/triage.json",
    "/triage.csv", "/report.html", "/report.json",
    "/jobs/1/2", "/jobs/1/2/job.json", "/jobs/1/2/log", "/jobs/1/2/events.json", "/job?tag=x&process=0",
)  # fmt: skip
EVIL = ("<script>alert", "<img src=x", " 49 ")


def routes(pages: Pages) -> set[str]:
    (mount,) = [each for each in pages.app.routes if getattr(each, "path", "") == "/prodsys"]
    return {each.path for each in mount.routes if each.path != "/static"}


def test_every_route_is_looked_at_here(pages: Pages) -> None:
    """A route that is added without a test of who may see it fails here."""
    told = {path.partition("?")[0] for path in OF_ALL}
    of_campaign = {path.partition("?")[0] for path in OF_CAMPAIGN}
    told |= {
        "/campaigns/{dag_id}" + path.replace("/1/2", "/{submission_id}/{process}") for path in of_campaign
    }
    told |= {"/campaigns/{dag_id}/answer", "/nodes/exclude", "/nodes/lift"}
    assert routes(pages) == told


@pytest.mark.parametrize("path", [*OF_ALL, *(f"/campaigns/demo.z{path}" for path in OF_CAMPAIGN)])
def test_nobody_sees_anything_without_signing_in(pages: Pages, path: str) -> None:
    answer = pages.get(path, who="")
    assert answer.status_code == 401
    assert "1000" not in answer.text


@pytest.mark.parametrize("path", ["/campaigns/demo.z/answer", "/nodes/exclude", "/nodes/lift"])
def test_nobody_does_anything_without_signing_in(pages: Pages, path: str) -> None:
    assert pages.post(path, {"kind": "node", "name": "wn1"}, who="").status_code == 401


@pytest.mark.parametrize("path", OF_CAMPAIGN)
@pytest.mark.parametrize("dag_id", ["demo.secret", "demo.nowhere"])
def test_a_dag_that_one_may_not_see_is_refused_like_one_that_is_not_there(
    pages: Pages, dag_id: str, path: str
) -> None:
    assert pages.get(f"/campaigns/{dag_id}{path}").status_code == 403


@pytest.mark.parametrize("path", OF_CAMPAIGN)
@pytest.mark.parametrize("wildcard", ["~", "%7E"])
def test_airflows_wildcard_is_no_campaign(pages: Pages, wildcard: str, path: str) -> None:
    answer = pages.get(f"/campaigns/{wildcard}{path}")
    assert answer.status_code == 404
    assert "demo." not in answer.text


@pytest.mark.parametrize("kind", ["html", "json"])
@pytest.mark.parametrize("place", ["demo.new/report.{}", "demo.z/report.{}?tranche=manual__secret"])
def test_a_report_that_there_is_not_tells_nothing_of_others(pages: Pages, place: str, kind: str) -> None:
    answer = pages.get(f"/campaigns/{place.format(kind)}")
    assert answer.status_code == 404
    for hidden in ("demo.secret", "demo.quiet", "sqlite", "ledger"):
        assert hidden not in answer.text


@pytest.mark.parametrize(
    "path",
    ["/campaigns", "/campaigns.json", "/campaigns.csv", "/campaigns?q=secret",
     "/search?q=3000",
     "/search?q=9.0", "/search?q=9.0@ap1", "/search?q=3000/1", "/nodes", "/nodes.json",
     "/campaigns/demo.z/jobs/3/0"],
)  # fmt: skip
def test_lists_and_searches_know_nothing_of_it(pages: Pages, path: str) -> None:
    answer = pages.get(path)
    assert "demo.secret" not in answer.text
    if path.startswith("/search"):
        assert "Nothing found" in answer.text
    assert "/jobs/3/" not in answer.text


@pytest.mark.parametrize("path", OF_CAMPAIGN)
def test_who_may_not_see_tasks_is_refused_the_campaign(pages: Pages, path: str) -> None:
    assert pages.get(f"/campaigns/demo.z{path}", who="dan").status_code == 403


@pytest.mark.parametrize(
    "path", [*OF_ALL, "/campaigns?q=z", "/search?q=7.2@ap1", "/search?q=1000/2", "/search?q=out_1000_1.root"]
)
def test_who_may_not_see_tasks_sees_no_figure_of_them_elsewhere(pages: Pages, path: str) -> None:
    answer = pages.get(path, who="dan")
    assert answer.status_code == 200
    assert "demo.z" not in answer.text
    assert "wn1.example" not in answer.text
    assert "demo.quiet" in pages.get("/campaigns", who="dan").text


class OneLog:
    """Has the same end of a log for every job."""

    def tail(self, place: JobPlace, execution: ExecutionRecord | None) -> LogTail:  # noqa: ARG002
        return LogTail(lines=("the last line",), size=13, whole=True, source="here")


def test_a_log_is_shown_to_who_may_read_logs_alone(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job_views, "_logs", lambda _: OneLog())
    recent.clear()
    page = pages.get("/campaigns/demo.z/jobs/1/2", who="bob").text
    assert "the last line" in page
    assert "whole log" in page
    page = pages.get("/campaigns/demo.z/jobs/1/2", who="cat").text
    assert "the last line" not in page
    assert "whole log" not in page
    assert "does not let you read the logs" in page
    for path in ("log", "events.json"):
        assert pages.get(f"/campaigns/demo.z/jobs/1/2/{path}", who="cat").status_code == 403


def test_a_reason_that_everybody_reads_names_no_campaign_by_itself(pages: Pages) -> None:
    page = pages.get("/campaigns/demo.z/triage").text
    (reason,) = re.findall(r'name="why" value="([^"]*)"', page)
    assert reason == "jobs failed there: memory"
    for path in ("/campaigns/demo.z/triage", "/nodes"):
        assert "Everybody who opens Nodes reads why" in pages.get(path).text


def test_who_may_read_sees_the_campaign(pages: Pages) -> None:
    page = pages.get("/campaigns", who="bob").text
    assert "demo.z" in page
    assert "demo.quiet" not in page
    assert "gen, run 1000: a decision is asked for" in page
    assert 'aria-label="gen: 25 % of 8 subruns: 2 accepted' in page
    assert page.index("demo.z") < page.index("CSV")
    assert "All campaigns as <a" in page


@pytest.mark.parametrize(
    "path", ["/campaigns/demo.z", "/campaigns/demo.z/triage", "/campaigns/demo.z/jobs/1/2"]
)
def test_hostile_text_is_text(pages: Pages, path: str) -> None:
    page = pages.get(path).text
    assert "evil" in page
    for evil in EVIL:
        assert evil not in page


def test_hostile_text_in_a_search_is_text(pages: Pages) -> None:
    page = pages.get("/search?q=%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "&lt;script&gt;" in page
    assert "<script>alert" not in page


@pytest.mark.parametrize(
    "text",
    ["' OR 1=1 --", "%27; DROP TABLE jobs; --", "1000/1; DELETE FROM jobs",
     "%", "_", "\\",
     "99999999999999999999.1",
     "4294967296", "1000/99999999999", "\x00", "default.root' UNION SELECT 1", "9" * 300],
)  # fmt: skip
def test_sql_in_a_search_is_a_name_that_nothing_has(pages: Pages, text: str) -> None:
    answer = pages.send("GET", "/search", who="ann", params={"q": text})
    assert answer.status_code == 200
    assert "/jobs/" not in answer.text
    assert pages.get("/search?q=1000").text.count("/jobs/") >= 4


@pytest.mark.parametrize("text", ["7.2@ap1", "7.2", "1000/2", "run 1000 subrun 2"])
def test_one_hit_is_one_click(pages: Pages, text: str) -> None:
    answer = pages.send("GET", "/search", who="ann", params={"q": text})
    assert answer.status_code == 303
    assert answer.headers["location"] == "/prodsys/campaigns/demo.z/jobs/1/2"


def test_a_file_name_finds_its_job(pages: Pages) -> None:
    (made,) = pages.ledger.outputs_of(1, 1, 1)
    answer = pages.send("GET", "/search", who="ann", params={"q": made.path})
    assert answer.status_code in {200, 303}
    assert "/campaigns/demo.z/jobs/1/1" in answer.headers.get("location", answer.text)


def test_headers_forbid_what_pages_do_not_need(pages: Pages) -> None:
    for path in ("/campaigns", "/nodes", "/static/pages.js", "/nowhere"):
        headers = pages.get(path).headers
        policy = headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_inline_script_or_style(pages: Pages) -> None:
    for path in (
        "/campaigns",
        "/campaigns/demo.z",
        "/campaigns/demo.z/triage",
        "/nodes",
        "/campaigns/demo.z/jobs/1/2",
    ):
        page = pages.get(path).text
        assert not re.search(r"<script(?![^>]* src=)|<style|\sstyle=|\son\w+=\"", page), path
        assert "//" not in "".join(re.findall(r'(?:src|href)="(//|https?:)', page)), path


def test_an_unchanged_page_costs_nothing_to_send(pages: Pages) -> None:
    first = pages.get("/campaigns.csv")
    again = pages.get("/campaigns.csv", **{"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    live = pages.get("/campaigns", **{"x-prodsys-live": "1"})
    assert "<html" not in live.text
    assert "demo.z" in live.text


@pytest.mark.parametrize(
    "path",
    ["/campaigns.json?q=quiet", "/nodes.json", "/campaigns/demo.z/jobs/1/2/job.json",
     *(f"/campaigns/demo.quiet/{name}" for name in (
         "campaign.json", "slices.csv", "triage.json", "triage.csv", "report.json", "report.html"))],
)  # fmt: skip
def test_the_moment_of_a_request_alone_is_no_news(pages: Pages, path: str) -> None:
    first = pages.get(path)
    recent.clear()
    again = pages.get(path, **{"if-none-match": first.headers["etag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
    assert again.headers["etag"] == first.headers["etag"]


@pytest.mark.parametrize(
    ("maker", "paths"),
    [
        ("campaign_views.campaign_page", ("/demo.z", "/demo.z/campaign.json", "/demo.z/slices.csv")),
        ("campaign_views.failures_page", ("/demo.z/triage", "/demo.z/triage.json", "/demo.z/triage.csv")),
        ("job_views.job_page", ("/demo.z/jobs/1/2", "/demo.z/jobs/1/2/job.json", "/demo.z/jobs/1/2/log")),
    ],
)
def test_a_page_and_its_files_cost_one_look(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, maker: str, paths: tuple[str, ...]
) -> None:
    looks = counted(monkeypatch, f"prodsys_operators.pages.{maker}")
    recent.clear()
    monkeypatch.setattr(recent, "_fresh_s", 600.0)
    for path in paths:
        pages.get(f"/campaigns{path}")
    assert len(looks) == 1


def test_a_report_is_drawn_once(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = counted(monkeypatch, "include.reports.writing.as_html")
    recent.clear()
    monkeypatch.setattr(recent, "_fresh_s", 600.0)
    texts = {pages.get("/campaigns/demo.z/report.html").text for _ in range(3)}
    assert (len(drawn), len(texts)) == (1, 1)


def test_a_plan_is_written_once_however_long_a_page_is_open(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = counted(monkeypatch, "yaml.safe_dump")
    pinned.clear()
    for _ in range(3):
        recent.clear()
        assert "spec_sha256" in pages.get("/campaigns/demo.z", **{"x-prodsys-live": "1"}).text
    assert len(written) == 1


def counted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[str]:
    """Let a function note its calls in the list that is returned."""
    calls: list[str] = []
    function: Callable[..., Any] = resolve_name(name)

    def noting(*given: Any, **named: Any) -> Any:
        calls.append(name)
        return function(*given, **named)

    monkeypatch.setattr(name, noting)
    return calls


def test_a_report_comes_as_a_file_that_needs_nothing_else(pages: Pages) -> None:
    answer = pages.get(f"/campaigns/demo.z/report.html?tranche={TRANCHE}")
    assert answer.headers["content-disposition"] == 'attachment; filename="report_demo.z.html"'
    assert "<svg" in answer.text
    assert not re.search(r"(?:src|href)=\"https?:", answer.text)
    plain = pages.get(f"/campaigns/demo.z/report.json?tranche={TRANCHE}").json()
    assert plain["title"] == f"demo.z, dag_run {TRANCHE}"
    assert pages.get("/campaigns/demo.z/report.json?tranche=other").status_code == 404


def test_tables_are_no_formulas(pages: Pages) -> None:
    rows = list(csv.reader(io.StringIO(pages.get("/campaigns/demo.z/triage.csv").text)))
    assert rows[0][:3] == ["stage", "category", "rule"]
    assert not any(cell[:1] in "=+-@" for row in rows[1:] for cell in row if cell)


@pytest.mark.parametrize(
    ("query", "words"),
    [("sort=nmae", "did you mean &#39;name&#39;"), ("standing=rnus", "did you mean &#39;runs&#39;")],
)
def test_a_wrong_wish_is_told_the_right_one(pages: Pages, query: str, words: str) -> None:
    answer = pages.get(f"/campaigns?{query}")
    assert answer.status_code == 404
    assert words in answer.text


def test_a_dag_run_that_has_not_begun_has_a_page(pages: Pages) -> None:
    not_begun = "has not reserved its run numbers yet"
    for page in ("", "/triage"):
        assert not_begun in pages.get(f"/campaigns/demo.z{page}?run_id=later").text
        for plus in ("+", "%2B"):  # Airflow's UI puts run ids into addresses as they are
            assert not_begun not in pages.get(f"/campaigns/demo.z{page}?run_id=manual__z{plus}00:00").text
    assert pages.get(f"/campaigns/demo.z?tranche={TRANCHE}").status_code == 200
    assert pages.get("/campaigns/demo.z?tranche=other").status_code == 404
