"""Stops the world where a crash test wants it; found by every Python of a site whose PYTHONPATH names it.

A file PRODSYS_CRASH_DIR/armed/POINT arms a point and names the victim. The process that comes to it first
moves the file to fired/; it kills itself where it is the victim, else it waits for the file done/POINT.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

TASK, TASK_SOON = "task", "task soon"
SOON_S = 0.3
LIMIT_S = 30.0
POLL_S = 0.02


def crash(point: str) -> None:
    """Do at `point` what it is armed for, once."""
    folder = Path(os.environ["PRODSYS_CRASH_DIR"])
    fired = folder / "fired" / point
    try:
        (folder / "armed" / point).rename(fired)
    except FileNotFoundError:
        return
    victim = fired.read_text(encoding="utf-8")
    if victim == TASK:
        os.kill(os.getpid(), signal.SIGKILL)
    elif victim == TASK_SOON:
        killer = ["sh", "-c", f"sleep {SOON_S}; kill -KILL {os.getpid()}"]
        subprocess.Popen(killer, start_new_session=True)
        return
    deadline = time.monotonic() + LIMIT_S
    while not (folder / "done" / point).exists() and time.monotonic() < deadline:
        time.sleep(POLL_S)


if "PRODSYS_CRASH_DIR" in os.environ:
    with suppress(ImportError):  # other programs than ours, in other environments
        from include import crash_points

        crash_points.hook = crash
