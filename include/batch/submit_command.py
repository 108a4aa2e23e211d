"""Running a command that submits: under a time limit that outlasts us, and what its output tells a person."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from typing import IO, TYPE_CHECKING

from include.errors import MissingTool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TELLING = re.compile(r"error|fail|refus|denied|exceed|invalid|unable|cannot|not found|usage:", re.IGNORECASE)
KILL_AFTER_S = 10
"""Time between the polite and the hard end of a command that is out of time."""
MAX_OUTPUT = 4_000_000
"""Bytes of output that are read; jobsub_submit writes a few kilobytes."""
LAST_LINES = 12
TOKEN = re.compile(r"htgettoken|bearer ?token|token (has )?expired|credential|proxy", re.IGNORECASE)
"""What jobsub_submit says where the submitter's token or proxy is not good."""


def which(program: str, environment: Mapping[str, str] | None) -> str | None:
    """Return the program's path by the PATH of the environment it will run in."""
    return shutil.which(program, path=None if environment is None else environment.get("PATH", ""))


def run(
    command: list[str],
    environment: Mapping[str, str] | None,
    timeout_s: float,
    *,
    folder: Path | None = None,
    log: Path | None = None,
) -> tuple[int | None, str]:
    """Run the command in a process group of its own; return its exit code (None: killed) and output.

    coreutils' `timeout` ends it even when this process dies first; whoever finds the intent later may rely on
    it. With `log` the output goes to that file, which outlives this process too. OSError where the command
    cannot be started.
    """
    timeout = which("timeout", environment)
    if timeout is None:
        msg = "`timeout` is not on PATH, so nothing was submitted. Install coreutils."
        raise MissingTool(msg)
    with _output(log) as out:
        process = subprocess.Popen(
            [timeout, f"--kill-after={KILL_AFTER_S}", f"{timeout_s:.3f}", *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
            cwd=folder,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_s + 2 * KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return _meaning(code), read_end(out)


@contextlib.contextmanager
def _output(log: Path | None) -> Iterator[IO[bytes]]:
    """Open the file for the output: a new one at `log`, else one without a name."""
    with tempfile.TemporaryFile() if log is None else log.open("w+b") as out:
        yield out


def _meaning(code: int | None) -> int | None:
    """Return the exit code; None where `timeout` (124; 137 by its KILL) or a signal ended the command."""
    return None if code is None or code in {124, 137} or code < 0 else code


def read_end(out: IO[bytes]) -> str:
    """Return what was written, the end of it where it is long."""
    size = out.seek(0, os.SEEK_END)
    out.seek(max(0, size - MAX_OUTPUT))
    return out.read().decode(errors="replace")


def story(output: str, *, exit_code: int | None, command: list[str], timeout_s: float) -> str:
    """Return the command, how it ended and its last lines, for a person."""
    shown = shlex.join(command)
    shown = shown if len(shown) <= 600 else f"{shown[:400]} … {shown[-180:]}"
    ended = f"no end within {timeout_s:g} s" if exit_code is None else f"exit code {exit_code}"
    lines = [line.rstrip() for line in output.splitlines() if line.strip()][-LAST_LINES:]
    said = "\n".join(f"  | {line[:300]}" for line in lines) or "  | (no output)"
    return f"command: {shown}\n{ended}, last lines of its output:\n{said}"


def telling(output: str) -> str:
    """Return up to three lines of the output that say why, else its last one, in one line."""
    every = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in every if TELLING.search(line)] or every[-1:]
    lines = [line for line in lines if not line.startswith("usage:")] or lines
    return " / ".join(dict.fromkeys(line[:300] for line in lines[:3])) or "no reason given"
