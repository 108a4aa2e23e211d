#!/usr/bin/env python3
"""Take as long as NAPS says, then write a file: run n takes the n-th time, and after the last the first."""

from __future__ import annotations

import os
import time
from pathlib import Path


def main() -> None:
    """Make one subrun."""
    naps = [float(nap) for nap in os.environ["NAPS"].split(",")]
    time.sleep(naps[(int(os.environ["PRODSYS_RUN"]) - 1) % len(naps)])
    Path(os.environ["PRODSYS_OUTPUT"]).write_text("made\n", encoding="utf-8")


if __name__ == "__main__":
    main()
