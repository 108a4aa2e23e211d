"""Inputs that the ledger knows are compared with it before the script runs."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import pytest

CONTENT = b"0123456789" * 300_000


@pytest.fixture
def source(job: Any) -> Path:
    """An input of a job, with its size and checksum in job.json."""
    path = Path(job.base) / "in put.root"
    path.write_bytes(CONTENT)
    job.document["units"][0]["inputs"] = {"signal": [str(path), "root://door//x.root"]}
    known = [len(CONTENT), f"{zlib.adler32(CONTENT):08x}"]
    job.document["units"][0]["sums"] = {str(path): known, "root://door//x.root": [1, "00000001"]}
    job.good_script(f'touch "{job.base}/ran"\n')
    return path


def refused(job: Any) -> str:
    code, text = job.run()
    report = job.report()
    assert code == 81, text
    assert (report["failed_at"], report["exit_code"]) == ("inputs", None)
    assert not (job.base / "ran").exists()
    return str(report["error"])


def test_input_that_agrees_and_url(job: Any, source: Path) -> None:
    assert job.run()[0] == 0


def test_flipped_byte(job: Any, source: Path) -> None:
    flipped = bytearray(CONTENT)
    flipped[2_000_000] ^= 1
    source.write_bytes(flipped)
    assert refused(job) == (
        f"input {source} has adler32 {zlib.adler32(flipped):08x} and 3000000 bytes, the ledger says "
        f"{zlib.adler32(CONTENT):08x} and 3000000: it was changed after it was accepted"
    )


def test_cut_input(job: Any, source: Path) -> None:
    source.write_bytes(CONTENT[:-1])
    assert refused(job) == (
        f"input {source} has adler32 (not read) and 2999999 bytes, the ledger says "
        f"{zlib.adler32(CONTENT):08x} and 3000000: it was changed after it was accepted"
    )


def test_missing_input(job: Any, source: Path) -> None:
    source.unlink()
    assert refused(job) == f"inputs failed: No such file or directory: {source}"


@pytest.mark.parametrize("sums", [True, False])
def test_fifo_is_refused_at_once(job: Any, source: Path, sums: bool) -> None:
    source.unlink()
    os.mkfifo(source)
    if not sums:
        job.document["units"][0]["sums"] = None
    assert refused(job) == f"input {source} is no regular file"


@pytest.mark.parametrize("method", ["hadd", "command"])
def test_merge(job: Any, source: Path, method: str) -> None:
    tools = job.base / "tools"
    tools.mkdir()
    (tools / "hadd").write_text(f'#!/bin/sh\ntouch "{job.base}/ran"\n')
    (tools / "hadd").chmod(0o755)
    job.environment["PATH"] = f"{tools}:/usr/bin:/bin"
    job.document["merge"] = {"method": method}
    job.document["script"] = None if method == "hadd" else "work.sh"
    source.write_bytes(CONTENT.replace(b"0", b"O"))
    assert "it was changed after it was accepted" in refused(job)


@pytest.mark.parametrize("sums", [[], {"/x": 3}, {"/x": [3]}, {"/x": ["3", "00000001"]}, {"/x": [True, "0"]}])
def test_wrong_sums_are_a_wrong_job_file(job: Any, source: Path, sums: Any) -> None:
    job.document["units"][0]["sums"] = sums or ["x"]
    assert job.run()[0] == 84
    assert "sums of unit 0" in job.report()["error"]


def test_no_sums_as_before(job: Any, source: Path) -> None:
    job.document["units"][0]["sums"] = None
    source.write_bytes(b"x")
    assert job.run()[0] == 0
