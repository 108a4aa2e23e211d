#!/usr/bin/env python3
"""Take as long as NAPS says, then write a file: run n takes the n-th time, and after the last the first.

With GO, a job waits for that file first. With MARK, a job of reco makes that file before its nap, and one of
gen in run 2 waits for it.
"""

from __future__ import annotations

import os
import time
from pathlib import Path


def main() -> None:
    """Make one subrun."""
    go, mark = os.environ.get("GO"), os.environ.get("MARK")
    while go and not Path(go).exists():
        time.sleep(0.2)
    if mark and os.environ["PRODSYS_STAGE"] == "reco":
        Path(mark).touch()
    while mark and os.environ["PRODSYS_STAGE"] == "gen" and os.environ["PRODSYS_RUN"] == "2":
        if Path(mark).exists():
            break
        time.sleep(0.2)
    naps = [float(nap) for nap in os.environ["NAPS"].split(",")]
    time.sleep(naps[(int(os.environ["PRODSYS_RUN"]) - 1) % len(naps)])
    Path(os.environ["PRODSYS_OUTPUT"]).write_text("made\n", encoding="utf-8")


if __name__ == "__main__":
    main()
