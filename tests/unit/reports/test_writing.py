"""The report's page and JSON."""

from __future__ import annotations

import errno
import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from include.campaign.states import ActionKind
from include.errors import StorageError
from include.reports import writing
from include.reports.campaign import campaign_report
from include.reports.week import week_report
from tests import ledger_records as records
from tests.ledger_records import NOW

if TYPE_CHECKING:
    from pathlib import Path

    from include.bookkeeping.ledger import Ledger

LATER = NOW + 4 * 3600
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(2)> $\\frac{x$ {{ 7*7 }}\x1b[31m\u202e"


class Elements(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def hostile(told: Ledger) -> Ledger:
    """A ledger whose texts from outside are hostile."""
    tag = records.tag_of("gen", run=1001)
    told.record_jobs(tag, [records.job(1, cluster=10, site=HOSTILE, host=HOSTILE, exit_code=3)])
    wrong = records.diagnosis(1, rule="x", cause=HOSTILE, evidence=HOSTILE, advice=HOSTILE, host=HOSTILE)
    told.record_diagnoses(tag, [wrong], now=NOW)
    told.record_action(records.action(ActionKind.STOP, NOW, who=HOSTILE, detail=HOSTILE))
    return told


def test_hostile_text_stays_text(hostile: Ledger) -> None:
    plain = Elements(writing.as_html(campaign_report(hostile, "demo.z", now=LATER)))
    tags = {tag for tag, _ in plain.tags}
    assert not tags & {"script", "img", "iframe", "object", "link", "a"}
    assert not [name for _, attributes in plain.tags for name in attributes if name.startswith("on")]
    assert sum("<script>alert(1)</script>" in text for text in plain.text) >= 6
    assert not [text for text in plain.text if "\x1b" in text or "\u202e" in text]
    assert any("{{ 7*7 }}" in text for text in plain.text)


def test_the_page_needs_nothing_from_elsewhere(told: Ledger) -> None:
    page = writing.as_html(campaign_report(told, "demo.z", now=LATER))
    elements = Elements(page)
    addresses = set(re.findall(r"https?://[^\s\"'<>)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    loads = ("src", "href", "xlink:href", "action", "data")
    named = [attributes[name] for _, attributes in elements.tags for name in loads if name in attributes]
    assert [each for each in named if not (each or "").startswith("#")] == []
    assert "default-src 'none'" in page


def test_ids_are_unique_and_what_refers_to_them_finds_them(told: Ledger) -> None:
    page = writing.as_html(campaign_report(told, "demo.z", now=LATER))
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"', page)) | set(re.findall(r"url\(#([^)]+)\)", page))
    assert used
    assert used <= set(ids)


def test_each_plot_has_its_numbers_as_a_table(told: Ledger) -> None:
    report = campaign_report(told, "demo.z", now=LATER)
    page = writing.as_html(report)
    assert page.count('<svg role="img"') == 2
    assert report.time_line is not None
    table = page[page.index("The same as a table") :]
    rows = table[: table.index("</table>")].count('scope="row"')
    assert rows == len(report.time_line.good)
    assert "currentColor" in page


def test_the_json_is_the_report(told: Ledger) -> None:
    found = json.loads(writing.as_json(campaign_report(told, "demo.z", now=LATER)))
    gen = found["stages"][0]
    assert (gen["name"], gen["subruns"], gen["accepted"], gen["complete"]) == ("gen", 8, 4, 0.5)
    assert gen["jobs"]["cpu_efficiency"] == 0.75
    assert gen["output"]["stored_bytes"] == 5007
    assert found["causes"][0]["category"] == "memory"
    assert found["people"][0]["who"] == "ann"


def test_an_empty_week_is_a_page_too(empty: Ledger) -> None:
    from datetime import date

    report = week_report(empty, date(2026, 11, 25), now=LATER)
    page = writing.as_html(report)
    assert "Week of 2026-11-23, all experiments" in page
    assert "No failure was diagnosed." in page
    assert json.loads(writing.as_json(report))["campaigns"] == []


def test_long_tables_are_cut_and_say_so(told: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "MOST_ROWS", 1)
    page = writing.as_html(campaign_report(told, "demo.z", now=LATER))
    assert "3 rows more are in the JSON." in page
    assert "BNL" in page
    assert "not known</th>" not in page[page.index("<h2>Sites") : page.index("<h2>Failures")].replace(
        "<th>not known</th>", ""
    )


def test_writing_replaces_as_a_whole_and_says_what_hinders(told: Ledger, tmp_path: Path) -> None:
    report = campaign_report(told, "demo.z", now=LATER)
    html = writing.report_path(tmp_path, "demo.z", "manual__2026-01-01T00:00:00+00:00")
    assert html == tmp_path / "reports/demo/z/manual__2026-01-01T00:00:00+00:00.html"
    for _ in range(2):
        writing.write(report, html, html.with_suffix(".json"))
    assert sorted(path.suffix for path in html.parent.iterdir()) == [".html", ".json"]
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match=r"file/x\.html cannot be written"):
        writing.replace_file(tmp_path / "file" / "x.html", "")


def test_a_file_that_cannot_be_written_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.html"
    writing.replace_file(path, "old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        writing.replace_file(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["x.html"]
    assert path.read_text(encoding="utf-8") == "old"


def test_text_that_is_no_unicode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        writing.replace_file(tmp_path / "x.html", "\udcff")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tranche", ["../../etc/passwd", "..", ".", "a/b\\c\x00d", "é" * 300, "x" * 300])
def test_a_dag_run_of_any_name_stays_in_its_folder(tmp_path: Path, tranche: str) -> None:
    path = writing.report_path(tmp_path, "demo.z", tranche)
    assert path.resolve().parent == tmp_path.resolve() / "reports" / "demo" / "z"
    assert len(path.name.encode()) <= 255
    writing.replace_file(path, "kept")
    assert path.read_text(encoding="utf-8") == "kept"
    assert writing.report_path(tmp_path, "demo.z", f"{tranche}1") != path


@pytest.mark.parametrize(
    ("told_as", "expected"),
    [
        (writing.percent(None), "-"), (writing.percent(0.1234), "12.3 %"), (writing.hours(5400), "1.5 h"),
        (writing.number(1234567), "1,234,567"), (writing.size(999), "999 B"), (writing.size(1e16), "10.0 PB"),
        (writing.size(1.5e9), "1.5 GB"), (writing.duration(90), "90 s"), (writing.duration(7200), "2.0 h"),
        (writing.duration(None), "-"), (writing.moment(0), "1970-01-01 00:00 UTC"),
    ],
)  # fmt: skip
def test_numbers_in_words(told_as: str, expected: str) -> None:
    assert told_as == expected
