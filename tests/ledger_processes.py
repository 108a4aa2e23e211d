"""What other processes do to a ledger while a test looks; each function is the whole of one process."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import sqlalchemy as sa

from include.bookkeeping.admission import DeploymentLimits
from include.bookkeeping.ledger import Ledger
from include.bookkeeping.ledger_admission import AdmissionRequest
from include.errors import RunRangeError
from tests import ledger_records as records


def reserve(url: str, campaign: str, tranche: str) -> None:
    """Reserve five slices; write the runs, or why there are none."""
    with Ledger(url) as ledger:
        plan = records.campaign_plan(campaign)
        try:
            got = ledger.reserve(plan, tranche=tranche, dag_run_id=tranche, slices=5, now=records.NOW)
        except RunRangeError as error:
            sys.stdout.write(str(error))
            return
    sys.stdout.write(" ".join(str(each.run) for each in got))


def intend(url: str, who: str) -> None:
    """Intend one tag with a work_dir of our own; write the work_dir that the ledger kept."""
    with Ledger(url) as ledger:
        kept = ledger.intend(
            tag=records.tag_of("gen"),
            dag_id="demo.z",
            tranche=records.TRANCHE,
            run=1000,
            stage="gen",
            recovery=0,
            units=records.units([(n, n) for n in range(4)]),
            work_dir=who,
            now=records.NOW,
        )
    sys.stdout.write(f"{kept.work_dir} {len(kept.units)}")


def ask(url: str, run: str) -> None:
    """Ask three times to send gen of a run, with at most eight jobs in flight; write the answer."""
    with Ledger(url) as ledger:
        request = AdmissionRequest(tag=records.tag_of("gen", run=int(run)), stage_number=0)
        limits = DeploymentLimits(jobs_per_experiment=8)
        answers = [ledger.ask(request, limits=limits, now=records.NOW + n) for n in range(3)]
    sys.stdout.write("waits" if answers[-1] else "admitted")


def settle(url: str, start: str) -> None:
    """Record an output of each of 15 subruns and have it accepted, one by one; outputs carry `start`."""
    with Ledger(url) as ledger:
        for subrun in range(15):
            records.accept(ledger, records.tag_of("gen"), [records.output("gen", subrun, start=int(start))])


def exclude(url: str, hours: str) -> None:
    """Exclude one node for some hours."""
    with Ledger(url) as ledger:
        ledger.exclude(records.exclusion("wn1", hours=float(hours)))


def die_in_settle(url: str) -> None:
    """Settle, and be killed after the verdicts are written and before outputs are accepted."""
    with Ledger(url) as ledger:

        def die(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
            if statement.startswith("UPDATE outputs"):
                os.kill(os.getpid(), signal.SIGKILL)

        sa.event.listen(ledger._engine, "before_cursor_execute", die)
        done = records.output("gen", 0)
        ledger.settle(
            records.tag_of("gen"),
            verdicts=[records.verdict(0)],
            accept=[(done.execution, done.name)],
            reject=[],
            now=records.NOW,
        )


def upgrade(url: str) -> None:
    """Create the tables."""
    with Ledger(url) as ledger:
        sys.stdout.write(ledger.upgrade())


if __name__ == "__main__":
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    {each.__name__: each for each in (reserve, intend, ask, settle, exclude, die_in_settle, upgrade)}[
        sys.argv[1]
    ](*sys.argv[2:])
