"""Shell jobs on the tests' pool."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.batch.pool import JobAd
    from include.batch.pool_process import PoolProcess

AP1 = "ap1.pool"
_tags = iter(range(1_000_000))


def new_tag() -> str:
    return f"demo.Z/t{next(_tags)}/{os.getpid()}/gen/recovery-0"


def submit(tag: str, script: str, *, jobs: int = 1, **attributes: str) -> int:
    """Submit shell jobs straight to the schedd, and return the cluster."""
    import htcondor2

    description = {
        "executable": "/bin/sh",
        "arguments": f'''"-c '{script.replace("'", "''")}' $(Process)"''',
        "transfer_executable": "false",
        "request_memory": "10",
        "request_disk": "1000",
        "My.ProdsysTag": f'"{tag}"',
        **attributes,
    }
    return int(htcondor2.Schedd().submit(htcondor2.Submit(description), count=jobs).cluster())


def act(action: str, constraint: str) -> None:
    """Hold, release or remove jobs as their owner would."""
    import htcondor2

    htcondor2.Schedd().act(getattr(htcondor2.JobAction, action), constraint, ("test", 7))


def until(condition: Callable[[], Any], seconds: float = 240) -> Any:
    """Poll until the condition gives something true, and return it."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.1)
    return value


def ended(condor: PoolProcess, cluster: int, jobs: int) -> list[JobAd]:
    """Return the ads once every job has ended."""
    until(lambda: condor.counts(AP1, {cluster: jobs}, now=time.time())[cluster].ended == jobs)
    return condor.ads(AP1, [cluster])
