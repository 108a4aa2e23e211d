"""Campaigns whose jobs fit no node: they stay in the queue, and cost no node anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SPEC = """\
version: 1
description: Jobs that fit no node
owner: bench
runs: {{first: {first}, last: {last}}}
slices: 1
subruns: {jobs}
defaults: {{memory: 900 GB, disk: 50 MB, lifetime: 1 h, success_threshold: 1.0}}
stages:
  gen:
    script: job.sh
    output: "dts.bench.idle.{{run:06d}}_{{subrun:08d}}.txt"
"""


def write_specs(specs: Path, sizes: Iterable[int]) -> None:
    """Write a campaign `bench/cJOBS` of one slice for each number of jobs, with runs of its own."""
    folder = specs / "bench"
    folder.mkdir(parents=True)
    (folder / "job.sh").write_text("#!/bin/sh\n", encoding="utf-8")
    (folder / "job.sh").chmod(0o755)
    for place, jobs in enumerate(sizes):
        first = 1 + 100 * place
        text = SPEC.format(jobs=jobs, first=first, last=first + 99)
        (folder / f"c{jobs}.yaml").write_text(text, encoding="utf-8")
