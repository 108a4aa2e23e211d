"""Time that goes on evenly while somebody sets the machine's clock."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadyTime:
    """A moment that other processes can compare with theirs, as long as they run since the same boot."""

    boot: str
    """Which start of which machine; empty where the system does not say."""
    seconds: float

    def since(self, boot: str, seconds: float) -> float | None:
        """Return the seconds from another moment to this one; None where the two cannot be compared."""
        return self.seconds - seconds if boot and boot == self.boot else None


def steady_time() -> SteadyTime:
    """Return this moment."""
    try:
        boot = BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        boot = ""
    return SteadyTime(boot=boot, seconds=time.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How time passes for whoever waits."""

    now: Callable[[], float] = time.time
    """Epoch seconds, for records that other machines read."""
    sleep: Callable[[float], object] = time.sleep
    steady: Callable[[], SteadyTime] = steady_time
    """For durations."""
