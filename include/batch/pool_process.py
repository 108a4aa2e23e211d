"""A pool that is asked in a process of its own, which is ended when a call takes too long.

htcondor2 holds the GIL for a whole call and its `history` waits for ever for a schedd that hangs, so no
thread and no signal handler in the same process can end it. The child is a bare interpreter that imports only
the pool's module; multiprocessing's spawn would import the parent's main program again, which in Airflow is
Airflow.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Any, Self, cast

from include.errors import PoolError, ProdsysError, ScheddUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from include.batch.pool import ClusterCounts, ClusterId, Counted, HistoryReach, JobAd, Pool, TaggedCluster

CONDOR = "include.batch.condor:CondorPool"
"""The factory of the pool that CONDOR_CONFIG names."""
HEADER = 8
"""Bytes that hold a message's length."""
MARGIN_S = 5.0
"""The child ends itself after the time limit; the parent ends it this much later."""


class PoolProcess:
    """Implements `include.batch.pool.Pool`; each call answers or raises ScheddUnreachable within `timeout_s`.

    The child starts with the first call, and again after it was ended. Calls from several threads queue up.
    """

    def __init__(
        self, factory: str = CONDOR, arguments: Mapping[str, Any] | None = None, *, timeout_s: float = 120.0
    ) -> None:
        self._command = [
            sys.executable,
            "-P",
            "-m",
            "include.batch.pool_process",
            factory,
            json.dumps(dict(arguments or {})),
        ]
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Return the pool; its child ends with the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the child."""
        self.close()

    def schedds(self) -> tuple[str, ...]:
        """See Pool."""
        return cast("tuple[str, ...]", self._call("schedds"))

    def find_tag(self, tag: str, *, since: float | None = None) -> tuple[ClusterId, ...]:
        """See Pool; a schedd a call, so that a time-out names the schedd."""
        found: set[ClusterId] = set()
        for schedd in self.schedds():
            found.update(cast("tuple[ClusterId, ...]", self._call("find_tag_in", schedd, tag, since=since)))
        return tuple(sorted(found))

    def history_reach(self, schedd: str, *, before: float) -> HistoryReach:
        """See Pool."""
        return cast("HistoryReach", self._call("history_reach", schedd, before=before))

    def counts(
        self, schedd: str, clusters: Mapping[Counted, int], *, now: float
    ) -> dict[Counted, ClusterCounts]:
        """See Pool."""
        return cast("dict[Counted, ClusterCounts]", self._call("counts", schedd, dict(clusters), now=now))

    def ads(self, schedd: str, clusters: Collection[int]) -> list[JobAd]:
        """See Pool."""
        return cast("list[JobAd]", self._call("ads", schedd, list(clusters)))

    def tagged(self, schedd: str) -> tuple[TaggedCluster, ...]:
        """See Pool."""
        return cast("tuple[TaggedCluster, ...]", self._call("tagged", schedd))

    def remove(self, schedd: str, clusters: Collection[int], *, reason: str) -> None:
        """See Pool."""
        self._call("remove", schedd, list(clusters), reason=reason)

    def remove_jobs(self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str) -> int:
        """See Pool."""
        return cast("int", self._call("remove_jobs", schedd, sorted(jobs), reason=reason))

    def release_jobs(
        self, schedd: str, jobs: Collection[tuple[int, int]], *, reason: str, memory_mb: int | None = None
    ) -> int:
        """See Pool."""
        return cast(
            "int", self._call("release_jobs", schedd, sorted(jobs), reason=reason, memory_mb=memory_mb)
        )

    def exclude(
        self, schedd: str, clusters: Collection[int], *, machines: Collection[str], sites: Collection[str]
    ) -> int:
        """See Pool."""
        named = {"machines": sorted(machines), "sites": sorted(sites)}
        return cast("int", self._call("exclude", schedd, sorted(clusters), **named))

    def close(self) -> None:
        """End the child, even in the middle of a call."""
        child = self._child
        if child is not None:
            child.kill()  # a call in another thread now ends, and gives the lock back
        with self._lock:
            if self._child is not None:
                _end(self._child)
            self._child = None

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Call one method of the pool in the child."""
        with self._lock:
            child = self._child
            if child is None or child.poll() is not None:
                if child is not None:
                    _end(child)
                self._child = None
                child = self._child = self._begin(method)
            try:
                _write(cast("IO[bytes]", child.stdin), (self._timeout_s, method, args, kwargs))
                answer = _read(cast("IO[bytes]", child.stdout), self._timeout_s + MARGIN_S)
            except (OSError, EOFError, TimeoutError) as error:
                _end(child)
                self._child = None
                raise ScheddUnreachable(self._no_answer(method, args, child.returncode)) from error
        if isinstance(answer, ProdsysError):
            raise answer
        if isinstance(answer, BaseException):
            msg = f"the pool's process failed in {method}{args!r:.200}: {answer!r}"
            raise PoolError(msg) from answer
        return answer

    def _begin(self, method: str) -> subprocess.Popen[bytes]:
        """Start the child; ScheddUnreachable where the machine has no room for a process."""
        try:
            # Its stderr is ours.
            return subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            why = f"the process that asks the pool could not be started: {error}"
            msg = f"{method} was not asked: {why}. This says nothing about jobs."
            raise ScheddUnreachable(msg) from error

    def _no_answer(self, method: str, args: tuple[Any, ...], code: int | None) -> str:
        """Return what to tell when the child did not answer."""
        who = args[0] if args else "the collector"
        if code in {-signal.SIGALRM, -signal.SIGKILL}:
            how = f"did not answer within {self._timeout_s:g} s"
        else:
            how = f"was being asked when the asking process ended with code {code}"
        asked = f"{method}{args[1:]!r}"
        shown = asked if len(asked) <= 200 else asked[:200] + " …"
        return f"{who} {how} ({shown}). This says nothing about its jobs. See `condor_status -schedd`."


def _end(child: subprocess.Popen[bytes]) -> None:
    """End the child and close its pipes."""
    child.kill()
    child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            # What a dead child did not read is lost on purpose.
            with contextlib.suppress(OSError):
                pipe.close()


def _write(pipe: IO[bytes], message: object) -> None:
    """Write one message."""
    body = pickle.dumps(message)
    pipe.write(len(body).to_bytes(HEADER, "big") + body)
    pipe.flush()


def _read(pipe: IO[bytes], timeout_s: float | None) -> Any:
    """Read one message; EOFError at the end, TimeoutError where it takes too long."""
    end = None if timeout_s is None else time.monotonic() + timeout_s
    size = int.from_bytes(_bytes(pipe, HEADER, end), "big")
    return pickle.loads(_bytes(pipe, size, end))  # noqa: S301  # from our own child or parent, through a private pipe


def _bytes(pipe: IO[bytes], size: int, end: float | None) -> bytes:
    """Read `size` bytes before `end`, past the pipe's own buffer so that waiting on it is sound."""
    parts = bytearray()
    while len(parts) < size:
        left = None if end is None else max(0.0, end - time.monotonic())
        if not select.select([pipe], [], [], left)[0]:
            raise TimeoutError
        part = os.read(pipe.fileno(), min(size - len(parts), 1 << 20))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def serve(factory: str, arguments: str) -> None:
    """Answer calls from stdin on what was stdout until stdin ends; too long a call ends the process."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not get between the answers
    module, _, name = factory.partition(":")
    pool: Pool | None = None
    while True:
        try:
            limit_s, method, args, kwargs = _read(sys.stdin.buffer, None)
        except EOFError:
            return
        # The default action of SIGALRM ends the process also while a library holds the GIL.
        signal.setitimer(signal.ITIMER_REAL, limit_s)
        answer: object
        try:
            pool = pool or getattr(importlib.import_module(module), name)(**json.loads(arguments))
            answer = getattr(pool, method)(*args, **kwargs)
        except ProdsysError as error:
            answer = error
        except Exception as error:  # noqa: BLE001  # it crosses the process border and is raised on the other side
            answer = PoolError(f"{type(error).__name__}: {error}")
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, answer)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
