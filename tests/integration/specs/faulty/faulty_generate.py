#!/usr/bin/env python3
"""Write a small TTree, or misbehave on chosen subruns: FAULTS="3:exit=7,5:sleep=600".

exit=N, signal=N, events=N (in place of those asked for), output=none, output=empty, output=garbage,
sleep=SECONDS (and go on).
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def fault_of(subrun: int) -> tuple[str, str]:
    """Return what this subrun is to do wrong, and how much; empty where it behaves."""
    for item in filter(None, os.environ.get("FAULTS", "").split(",")):
        where, _, what = item.partition(":")
        if int(where) == subrun:
            kind, _, value = what.partition("=")
            return kind, value
    return "", ""


def main() -> None:
    """Make one subrun."""
    run, subrun, events = (int(os.environ[f"PRODSYS_{name}"]) for name in ("RUN", "SUBRUN", "EVENTS"))
    output = Path(os.environ["PRODSYS_OUTPUT"])
    kind, value = fault_of(subrun)
    sys.stderr.write(f"run {run} subrun {subrun}: {kind} {value}\n")
    if kind == "exit":
        sys.stderr.write("Error: told to fail\n")
        sys.exit(int(value))
    if kind == "signal":
        os.kill(os.getpid(), int(value))
    if kind == "sleep":
        time.sleep(float(value))
    if kind == "output":
        if value != "none":
            output.write_bytes(b"" if value == "empty" else b"this is no ROOT file\n")
        return
    # Only here: the faults above should cost nothing.
    import numpy as np
    import uproot

    written = int(value) if kind == "events" else events
    with uproot.recreate(output) as file:
        columns = {"run": np.full(written, run, dtype="i4"), "subrun": np.full(written, subrun, dtype="i4")}
        file.mktree("events", {**columns, "event": np.arange(1, written + 1, dtype="i4")})


if __name__ == "__main__":
    main()
