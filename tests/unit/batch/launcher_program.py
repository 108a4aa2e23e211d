"""An experiment's launcher for tests: submits to the FakePool in $POOL and then does as $MODE says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from include.batch.fake import FakePool

mode, pool = os.environ["MODE"], FakePool(os.environ["POOL"])
Path(os.environ["POOL"]).with_suffix(".started").write_text(str(os.getpid()))
lines = os.environ["JOBSUB_EXTRA_LINES"].split(",")
(TAG,) = [line.split('"')[1] for line in lines if line.startswith("+ProdsysTag=")]
jobs = int(os.environ["PRODSYS_JOBS"])
half = jobs // 2


def call(first: int, number: int, *, tag: str | None = TAG, schedd: str = "ap1@fake", **ad: object) -> None:
    """Do what jobsub_submit does with `-N number … --first-unit first`."""
    cluster = pool.submit(schedd, tag, number, first_unit=first, **ad)
    if mode != "silent":
        sys.stdout.write(f"Use job id {cluster}.0@{schedd} to retrieve output\n")
        sys.stdout.flush()


if mode == "refuse":
    sys.stdout.write("ERROR: on hold\nError: condor_submit exited with failed status code 1\n")
    sys.exit(0)
if mode == "nothing":
    sys.exit(0)
if mode == "elsewhere":
    sys.stdout.write("Use job id 7.0@ap9@fake to retrieve output\n")
    sys.exit(0)
if mode == "lost":
    sys.stdout.write("Use job id 77.0@ap1@fake to retrieve output\n")
    sys.exit(0)
if mode == "dag":
    call(0, 1, tag=None, is_dagman=True)
    for _ in range(jobs):
        cluster = pool.submit("ap1@fake", TAG, 1)
    sys.exit(0)
if mode == "one":
    call(0, jobs)
    sys.exit(0)
if mode == "untagged":
    call(0, jobs, tag=None)
    sys.exit(0)
call(0, half)
if mode == "short":
    sys.exit(0)
if mode == "hang":
    time.sleep(600)
if mode == "overlap":
    call(0, half)
elif mode == "half-untagged":
    call(half, jobs - half, tag=None)
elif mode == "late":
    time.sleep(float(os.environ["LATE_S"]))
    call(half, jobs - half)
else:
    call(half, jobs - half, schedd="ap2@fake")
if mode == "extra":
    call(0, 1, tag=None)
if mode == "more":
    call(jobs, 1)
sys.exit(3 if mode == "exit3" else 0)
