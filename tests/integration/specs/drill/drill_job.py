#!/usr/bin/env python3
"""Copy the ready-made file of a subrun to the output, or misbehave on chosen subruns, the first time only.

FAULTS="3:exit=20,5:sleep=600": exit=N, quiet=N (exit without a word), signal=N, traceback, memory=MB,
sleep=SECONDS (and go on), cut=BYTES (of the file), wrong (too few entries), none (no file). ALWAYS=1: every
time, not only the first.
UNTIL names a file: nothing is made before it is there.
DRILL holds `ready/RUN_SUBRUN.root`, `ready/RUN_SUBRUN.short.root`, and the marks of what has failed already.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path


def fault_of(subrun: int, marks: Path) -> tuple[str, str]:
    """Return what this execution is to do wrong, and how much; empty where it behaves."""
    for item in filter(None, os.environ.get("FAULTS", "").split(",")):
        where, _, what = item.partition(":")
        first, _, last = where.partition("-")
        if int(first) <= subrun <= int(last or first):
            kind, _, value = what.partition("=")
            mark = marks / f"{os.environ['PRODSYS_CAMPAIGN']}.{os.environ['PRODSYS_RUN']}.{subrun}"
            if os.environ.get("ALWAYS") != "1":
                try:
                    mark.open("x").close()
                except FileExistsError:
                    return "", ""
            return kind, value
    return "", ""


def fail(kind: str, value: str) -> None:
    """Fail as told."""
    if kind == "exit":
        sys.stderr.write("---- FileOpenError BEGIN\n  Unable to open x.root\n---- FileOpenError END\n")
        sys.exit(int(value))
    if kind == "quiet":
        sys.exit(int(value))
    if kind == "signal":
        os.kill(os.getpid(), int(value))
    if kind == "traceback":
        geometry: dict[str, float] = {}
        sys.stderr.write(f"target at {geometry['target_z']}\n")
    if kind == "memory":
        hog = bytearray(int(value) << 20)
        for offset in range(0, len(hog), 4096):
            hog[offset] = 1
        time.sleep(120)
    if kind == "sleep":
        time.sleep(float(value))


def main() -> None:
    """Make one subrun."""
    run, subrun = (int(os.environ[f"PRODSYS_{name}"]) for name in ("RUN", "SUBRUN"))
    drill, output = Path(os.environ["DRILL"]), Path(os.environ["PRODSYS_OUTPUT"])
    kind, value = fault_of(subrun, drill / "marks")
    sys.stderr.write(f"run {run} subrun {subrun}: {kind} {value}\n")
    time.sleep(float(os.environ.get("NAP", "0")))
    until = os.environ.get("UNTIL")
    while until and not Path(until).exists():
        time.sleep(0.2)
    fail(kind, value)
    if kind == "none":
        return
    short = ".short" if kind == "wrong" else ""
    shutil.copyfile(drill / "ready" / f"{run}_{subrun}{short}.root", output)
    if kind == "cut":
        os.truncate(output, output.stat().st_size - int(value))


if __name__ == "__main__":
    main()
