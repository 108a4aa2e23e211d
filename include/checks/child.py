"""Run a program that nobody vouches for: bounded in time and in what it writes, never waited on for ever."""

from __future__ import annotations

import errno
import os
import selectors
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_STDOUT = 2**20
"""Bytes; a program that writes more is stopped."""
KEPT_STDERR = 8 * 2**10
"""Bytes of stderr's end that are kept; the rest is read and thrown away."""
_BLOCK = 64 * 2**10
_AFTER_END_S = 0.5
"""A child of the program may keep its stdout open: no more is read after so long."""
LEASH_S = 10
"""A program whose caller was killed is ended by coreutils' `timeout` so long after its time, seconds."""
_REAP_S = 10
"""A killed process that does not go away in this time hangs in the kernel: it is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program went."""

    code: int | None
    """Exit code, or minus the signal; None where it could not be seen to end."""
    timed_out: bool
    flooded: bool
    """Whether it was stopped for writing too much."""
    stdout: bytes
    stderr: bytes
    """The end of it."""


def run_bounded(
    command: Sequence[str], *, stdin: bytes, timeout_s: float, environment: Mapping[str, str], folder: str
) -> Ended:
    """Run a program in a process group of its own, which is killed once the program ends or its time is up.

    Raises OSError if it cannot be started.
    """
    _require_executable(command[0])
    process = subprocess.Popen(
        [*_leash(timeout_s), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=dict(environment),
        start_new_session=True,
        bufsize=0,
    )
    talk = _Talk(process, stdin)
    try:
        talk.until(time.monotonic() + timeout_s)
    finally:
        # Not reaped yet, so that the group's number is still ours.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        talk.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_REAP_S)
    return Ended(
        code=process.returncode if talk.ended else None,
        timed_out=talk.timed_out,
        flooded=talk.flooded,
        stdout=bytes(talk.stdout),
        stderr=bytes(talk.stderr),
    )


def _require_executable(path: str) -> None:
    """Raise OSError for what certainly cannot be started."""
    if os.path.isdir(path):  # noqa: PTH112
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if not os.access(path, os.X_OK):
        number = errno.EACCES if os.path.exists(path) else errno.ENOENT  # noqa: PTH110
        raise OSError(number, os.strerror(number), path)


def _leash(timeout_s: float) -> list[str]:
    """Return what to put before a command so that its group ends even if this process is killed before it."""
    program = shutil.which("timeout")
    return [program, "--signal=KILL", f"{timeout_s + LEASH_S:.0f}"] if program else []


class _Talk:
    """What goes into a program and comes out of it."""

    def __init__(self, process: subprocess.Popen[bytes], stdin: bytes) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.ended = self.timed_out = self.flooded = False
        self._rest = memoryview(stdin)
        self._pipes: dict[IO[bytes], bytearray] = {}
        self._pidfd = os.pidfd_open(process.pid)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pidfd, selectors.EVENT_READ)
        assert process.stdin is not None  # noqa: S101  PIPE was given for all three
        self._stdin = process.stdin
        os.set_blocking(self._stdin.fileno(), False)
        self._selector.register(self._stdin, selectors.EVENT_WRITE)
        for pipe, kept in ((process.stdout, self.stdout), (process.stderr, self.stderr)):
            assert pipe is not None  # noqa: S101
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ)
            self._pipes[pipe] = kept

    def until(self, deadline: float) -> None:
        """Talk until the program has ended and all is read, the deadline has passed, or it wrote too much."""
        while not self.flooded and (self._open() or not self.ended):
            left = deadline - time.monotonic()
            if left <= 0:
                self.timed_out = not self.ended
                return
            for key, _ in self._selector.select(left):
                if key.fileobj == self._pidfd:
                    self.ended = True
                    self._selector.unregister(self._pidfd)
                    deadline = min(deadline, time.monotonic() + _AFTER_END_S)
                elif key.fileobj is self._stdin:
                    self._write()
                else:
                    self._read(key.fileobj)  # type: ignore[arg-type]

    def close(self) -> None:
        """Let go of everything."""
        self._selector.close()
        os.close(self._pidfd)
        for pipe in (self._stdin, *self._pipes):
            with suppress(OSError):
                pipe.close()

    def _open(self) -> bool:
        return any(not pipe.closed for pipe in self._pipes)

    def _write(self) -> None:
        try:
            sent = os.write(self._stdin.fileno(), self._rest[:_BLOCK]) if self._rest else 0
        except BlockingIOError:
            return
        except OSError:  # it reads no more, which is its right
            sent = len(self._rest)
        self._rest = self._rest[sent:]
        if not self._rest:
            self._forget(self._stdin)

    def _read(self, pipe: IO[bytes]) -> None:
        try:
            block = os.read(pipe.fileno(), _BLOCK)
        except BlockingIOError:
            return
        except OSError:
            block = b""
        if not block:
            self._forget(pipe)
            return
        kept = self._pipes[pipe]
        kept += block
        if kept is self.stderr:
            del kept[:-KEPT_STDERR]
        elif len(kept) > MAX_STDOUT:
            self.flooded = True

    def _forget(self, pipe: IO[bytes]) -> None:
        self._selector.unregister(pipe)
        with suppress(OSError):
            pipe.close()
