"""`prodsys metrics`."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from include.bookkeeping.ledger import Ledger
from include.cli import app
from tests import report_records

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The ledger of tests/report_records.py."""
    place = f"sqlite:///{tmp_path}/ledger.db"
    with Ledger(place) as ledger:
        ledger.upgrade()
        report_records.fill(ledger)
    return place


def test_they_are_printed(url: str) -> None:
    result = CliRunner().invoke(app, ["metrics", "--ledger", url])
    assert (result.exit_code, result.stderr) == (0, "")
    assert 'prodsys_events{campaign="z",experiment="demo",stage="gen"} 40.0\n' in result.stdout


def test_they_are_served_on_loopback_until_the_process_ends(url: str) -> None:
    program = "from include.cli import app; app()"
    command = [sys.executable, "-c", program, "metrics", "--ledger", url, "--serve", "0"]
    served = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    )
    try:
        assert served.stdout is not None
        said = served.stdout.readline()
        found = re.fullmatch(r"metrics: (http://127\.0\.0\.1:\d+/metrics)\n", said)
        assert found, said
        with urllib.request.urlopen(found[1], timeout=60) as answer:  # noqa: S310  its own address
            text = answer.read().decode()
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert "prodsys_ledger_up 1.0" in text
    finally:
        served.send_signal(signal.SIGINT)
        served.communicate(timeout=60)
    assert served.returncode == 0


def test_a_port_that_is_taken_and_a_ledger_that_is_not_there(url: str, tmp_path: Path) -> None:
    taken = CliRunner().invoke(app, ["metrics", "--ledger", url, "--serve", "9108", "--address", "192.0.2.1"])
    assert taken.exit_code == 1
    assert "nothing can listen at 192.0.2.1 port 9108" in taken.stderr
    away = CliRunner().invoke(app, ["metrics", "--ledger", f"sqlite:///{tmp_path}/none.db"])
    assert away.exit_code == 1
    assert "prodsys ledger upgrade" in away.stderr
