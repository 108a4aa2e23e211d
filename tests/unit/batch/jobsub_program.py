"""A jobsub_submit for tests: submits to the FakePool in $POOL and then does as $MODE says."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from include.batch.fake import FakePool

mode, pool = os.environ["MODE"], FakePool(os.environ["POOL"])
Path(os.environ["POOL"]).with_suffix(".started").write_text(str(os.getpid()))
line = sys.argv[sys.argv.index("--lines") + 1]
tag = re.fullmatch(r'\+ProdsysTag="(.*)"', line)[1]  # type: ignore[index]
jobs = int(sys.argv[sys.argv.index("-N") + 1])
if mode == "refuse":
    sys.stdout.write("ERROR: on hold\nError: condor_submit exited with failed status code 1\n")
    sys.exit(0)
if mode == "vanish":
    sys.exit(0)
if mode == "late":
    time.sleep(float(os.environ["LATE_S"]))
cluster = pool.submit("ap1@fake", tag, jobs)
if mode == "twice":
    pool.submit("ap1@fake", tag, jobs)
if mode == "lie":
    sys.stdout.write("Error: condor_submit exited with failed status code 1\n")
    sys.exit(0)
if mode in {"silent", "twice"}:
    sys.exit(0)
if mode == "hang":
    time.sleep(600)
job_id = f"{cluster}.0@ap1@fake"
sys.stdout.write(f"{jobs} job(s) submitted to cluster {cluster}.\nUse job id {job_id} to retrieve output\n")
