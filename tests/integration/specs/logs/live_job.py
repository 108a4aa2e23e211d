#!/usr/bin/env python3
"""Say something, wait for this subrun's gate, say more, make the output."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Make one subrun."""
    subrun = os.environ["PRODSYS_SUBRUN"]
    sys.stderr.write(f"\x1b[1mquokka\x1b[0m {subrun} <b>waits</b>\n")
    gate = Path(os.environ["GATES"]) / subrun
    while not gate.exists():
        time.sleep(0.2)
    sys.stderr.write(f"wombat {subrun} went through\n")
    Path(os.environ["PRODSYS_OUTPUT"]).write_text("made\n", encoding="utf-8")


if __name__ == "__main__":
    main()
