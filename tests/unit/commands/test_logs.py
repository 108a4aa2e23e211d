"""`prodsys logs`."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner, Result

from include.cli import app
from include.logserver.records import JobEnd
from include.logserver.store import LogStore
from include.logserver.tokens import read_reader_token
from tests.unit.logserver.conftest import CLAIMS, FACTS, NOW, RECO, post

if TYPE_CHECKING:
    from pathlib import Path

KEY = "k" * 40


@pytest.fixture
def url(tmp_path: Path) -> str:
    """Two logs: gen's ended badly, reco's still grows."""
    place = f"sqlite:///{tmp_path}/logs.db"
    with LogStore(place) as store:
        store.upgrade()
        end = JobEnd(exit_code=3, failed_at="script", error="the script exited with 3")
        store.append([
            post(b"begin\n\x1b[31mFatal: no geometry\x1b[0m\n", facts=FACTS, end=end, at=NOW),
            post(b"fine\n", claims=RECO, execution="78.0.1-x", at=NOW + 9),
        ])  # fmt: skip
        store.categorise(CLAIMS.tag, {2: "configuration"})
    return place


def prodsys(*arguments: str, url: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["logs", *arguments], env={"PRODSYS_LOGS_DB": url, "PRODSYS_LOG_KEY": KEY})


def test_logs_are_listed(url: str) -> None:
    result = prodsys(url=url)
    assert (result.exit_code, result.stderr) == (0, "")
    reco, gen = result.stdout.splitlines()
    assert reco == (
        "?.? demo.z reco run 1000 subrun ? on an unknown node: last heard of 2027-01-15 08:00:09 UTC, 5 bytes"
    )
    assert gen == (
        "77.2@ap1.pool demo.z gen run 1000 subrun 2-3 on wn3.example.org: ended 2027-01-15 08:00:00 UTC "
        "with 3 (script: the script exited with 3), configuration, 34 bytes"
    )
    assert [log["stage"] for log in json.loads(prodsys("--json", url=url).stdout)["logs"]] == ["reco", "gen"]
    assert prodsys("demo.z", "--run", "7", url=url).stdout == "no log of dag_id demo.z, run 7 is here\n"
    assert "no log of" in prodsys("--since", "1 h", "--category", "memory", url=url).stdout


def test_campaign_that_has_no_log_is_refused_with_the_nearest(url: str) -> None:
    result = prodsys("demo.zz", url=url)
    assert result.exit_code == 2
    assert "no log of a campaign 'demo.zz' is here; did you mean 'demo.z'?" in unwrapped(result.stderr)


def test_without_an_address_it_says_what_sets_one() -> None:
    result = CliRunner().invoke(app, ["logs"], env={"PRODSYS_LOGS_DB": None})
    assert result.exit_code == 2
    assert 'eval "$(prodsys env)" sets it' in unwrapped(result.stderr)


def unwrapped(text: str) -> str:
    """Return a framed error as one line."""
    return " ".join(text.replace("│", " ").split())


@pytest.mark.parametrize(
    "asked",
    [
        ["--job", "77.2@ap1.pool"],
        ["--job", "77.2"],
        ["demo.z", "--subrun", "3"],
        ["--node", "wn3", "--whole"],
    ],
)
def test_one_log_is_shown(url: str, asked: list[str]) -> None:
    result = prodsys(*asked, url=url)
    assert result.stdout == "begin\nFatal: no geometry\n"
    assert result.stderr.startswith("77.2@ap1.pool demo.z gen run 1000")
    shown = json.loads(prodsys(*asked, "--json", url=url).stdout)
    assert [line["text"] for line in shown["lines"]] == ["begin", "Fatal: no geometry"]
    assert shown["log"]["exit_code"] == 3


def test_a_search(url: str) -> None:
    result = prodsys("--search", "fatal geo*", "--category", "configuration", url=url)
    assert result.stdout == (
        "2027-01-15 08:00:00 UTC demo.z gen run 1000 subrun 2-3 77.2@ap1.pool wn3.example.org: "
        "Fatal: no geometry\n"
    )
    assert prodsys("--search", "fatal", "--stage", "reco", url=url).stdout == "no line has all of that\n"
    found = json.loads(prodsys("--search", "fatal", "--json", url=url).stdout)
    (hit,), (log,) = found["hits"], found["logs"]
    assert (hit["line"]["text"], hit["log"], log["job_id"]) == (
        "Fatal: no geometry",
        log["id"],
        "77.2@ap1.pool",
    )


def test_a_search_shows_no_more_lines_than_are_asked_for(url: str) -> None:
    with LogStore(url) as store:
        store.append([post(b"a\n" * 500, execution="79.0.1-x")])
    result = prodsys("--search", "a", "--limit", "3", url=url)
    assert len(result.stdout.splitlines()) == 3
    assert "there may be more: --limit" in result.stderr


def test_a_log_is_followed_to_its_end(url: str) -> None:
    def go_on() -> None:
        with LogStore(url) as store:
            deadline = time.monotonic() + 20
            offset = 5
            while time.monotonic() < deadline and not over.wait(0.2):
                store.append([post(b"more\n", offset, claims=RECO, execution="78.0.1-x", at=NOW + offset)])
                offset += 5
                if offset == 20:
                    end = JobEnd(exit_code=0)
                    store.append([post(b"", offset, claims=RECO, execution="78.0.1-x", at=NOW + 60, end=end)])
                    return

    over = threading.Event()
    writer = threading.Thread(target=go_on)
    writer.start()
    try:
        result = prodsys("--stage", "reco", "--follow", url=url)
    finally:
        over.set()
        writer.join()
    assert result.stdout == "fine\n" + "more\n" * 3
    assert result.stderr.splitlines()[-1].endswith("ended 2027-01-15 08:01:00 UTC with 0, 20 bytes")


def test_expiring_and_upgrading(url: str) -> None:
    with LogStore(url) as store:
        store.append([post(b"long ago\n", execution=f"1.{n}.0-x", at=1e9 + n) for n in range(3)])
    result = prodsys("--expire", "--days", "0 d", "--space", "60 B", url=url)
    assert result.stdout == "1 logs removed, 9 bytes; 57 bytes are left\n"
    gone = json.loads(prodsys("--expire", "--json", url=url).stdout)
    assert gone == {"removed": 2, "freed": 18, "left": 39}
    assert "are at revision 0001" in prodsys("--upgrade", url=url).stdout


def test_a_readers_token(url: str) -> None:
    token = prodsys("--reader-token", "ann", url=url).stdout.strip()
    assert read_reader_token(KEY.encode(), token, now=time.time() + 89 * 86400) == "ann"


@pytest.mark.parametrize(
    ("asked", "code", "words"),
    [
        (["--job", "77"], 2, "write CLUSTER.PROCESS@SCHEDD"),
        (["--since", "24"], 2, "has no unit"),
        (["--search", "***"], 1, "nothing to search for"),
        (["--expire", "--space", "5"], 2, "has no unit"),
    ],
)
def test_what_is_wrong_is_said(url: str, asked: list[str], code: int, words: str) -> None:
    result = prodsys(*asked, url=url)
    assert result.exit_code == code
    assert words in " ".join(result.stderr.replace("│", " ").split())


def test_a_database_that_is_not_there_is_named(tmp_path: Path) -> None:
    result = prodsys(url=f"sqlite:///{tmp_path}/none.db")
    assert result.exit_code == 1
    assert "create it with `prodsys logs --upgrade`" in result.stderr
