"""Tranches and slices: plans are pinned, run numbers given out once and for ever."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa  # noqa: TID253  nothing on the DAG parse path imports this module

from include.bookkeeping.database import LedgerDatabase
from include.bookkeeping.identity_table import identity
from include.bookkeeping.records import Slice
from include.bookkeeping.rows import insert_all, insert_if_new
from include.bookkeeping.stage_counts import count_new
from include.bookkeeping.tables import campaigns, dag_runs, experiments, slices
from include.campaign.plan import CampaignPlan
from include.campaign.wording import spans
from include.errors import LedgerError, PlanError, RunRangeError

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.engine import Connection, Row

log = logging.getLogger(__name__)


class LedgerSlices(LedgerDatabase):
    """The part of the ledger that knows campaigns, tranches and slices."""

    def reserve(
        self, plan: CampaignPlan, *, tranche: str, dag_run_id: str, slices: int, now: float
    ) -> tuple[Slice, ...]:
        """Return the tranche's slices, with run numbers that no other slice of the experiment ever has.

        The first call pins `plan`. A later call keeps what is there and adds slices when more are asked for;
        it never drops one. New runs are the lowest unused ones of the range in `plan`, all or none:
        RunRangeError if there are too few, or if another campaign has runs of that range.
        """
        if slices < 1:
            raise LedgerError(
                f"{plan.dag_id}, tranche {tranche}: {slices} slices were asked for, at least 1 is needed"
            )
        with self._write() as connection:
            insert_if_new(connection, experiments, {"experiment": plan.experiment})
            _lock_experiment(connection, plan.experiment)
            _register(connection, plan, now=now)
            _pin(connection, plan, tranche=tranche, dag_run_id=dag_run_id, now=now)
            there = _slices(connection, plan.dag_id, tranche)
            missing = slices - len(there)
            if missing > 0:
                _add(connection, plan, tranche=tranche, start=len(there), count=missing, now=now)
                there = _slices(connection, plan.dag_id, tranche)
        log.info(
            "%s, tranche %s: %d slices, runs %s",
            plan.dag_id,
            tranche,
            len(there),
            [each.run for each in there],
        )
        return there

    def plan_of(self, dag_id: str, tranche: str) -> CampaignPlan:
        """Return the plan that was pinned for the tranche; LedgerError if nothing was reserved."""
        with self._read() as connection:
            return pinned_plan(connection, dag_id, tranche)

    def ledger_name(self, dag_id: str, tranche: str) -> str:
        """Return the ledger's name that ends the tranche's tags; empty for one from before there was one.

        LedgerError if nothing was reserved.
        """
        query = sa.select(dag_runs.c.ledger_name).where(
            dag_runs.c.dag_id == dag_id, dag_runs.c.tranche == tranche
        )
        with self._read() as connection:
            found: str | None = connection.scalar(query)
        if found is None:
            raise LedgerError(f"the ledger has no tranche {tranche} of {dag_id}: reserve its slices first")
        return found

    def campaigns(self) -> list[str]:
        """Return the dag_ids of all campaigns that have reserved slices, in order of name."""
        with self._read() as connection:
            return list(connection.scalars(sa.select(campaigns.c.dag_id).order_by(campaigns.c.dag_id)))

    def tranches(self, dag_id: str) -> list[str]:
        """Return the campaign's tranches in the order in which they were reserved."""
        query = sa.select(dag_runs.c.tranche).where(dag_runs.c.dag_id == dag_id)
        with self._read() as connection:
            return list(connection.scalars(query.order_by(dag_runs.c.reserved_at, dag_runs.c.tranche)))

    def slices_of(self, dag_id: str, tranche: str) -> tuple[Slice, ...]:
        """Return the tranche's slices in order of index; empty if nothing was reserved."""
        with self._read() as connection:
            return _slices(connection, dag_id, tranche)

    def slice_of(self, dag_id: str, tranche: str, index: int) -> Slice:
        """Return one slice; LedgerError if it was not reserved."""
        for each in self.slices_of(dag_id, tranche):
            if each.index == index:
                return each
        raise LedgerError(
            f"the ledger has no slice {index} for {dag_id}, tranche {tranche}: reserve it first"
        )


def lowest_unused(used: Collection[int], *, first: int, last: int, count: int) -> list[int] | None:
    """Return the `count` lowest numbers in first..last that are not in `used`; None if there are fewer."""
    taken = set(used)
    found: list[int] = []
    for number in range(first, last + 1):
        if len(found) == count:
            break
        if number not in taken:
            found.append(number)
    return found if len(found) == count else None


def pinned_plan(connection: Connection, dag_id: str, tranche: str) -> CampaignPlan:
    """Return the tranche's plan; LedgerError if there is none or it cannot be read."""
    query = sa.select(dag_runs.c.plan).where(dag_runs.c.dag_id == dag_id, dag_runs.c.tranche == tranche)
    data = connection.scalar(query)
    if data is None:
        raise LedgerError(f"the ledger has no plan for {dag_id}, tranche {tranche}: reserve its slices first")
    try:
        return CampaignPlan.from_dict(data)
    except (PlanError, TypeError, KeyError, ValueError) as error:
        message = f"the plan pinned for {dag_id}, tranche {tranche} does not fit this prodsys: {error}"
        raise LedgerError(message) from error


def _lock_experiment(connection: Connection, experiment: str) -> None:
    connection.execute(sa.select(experiments).where(experiments.c.experiment == experiment).with_for_update())


def _register(connection: Connection, plan: CampaignPlan, *, now: float) -> None:
    row = {"dag_id": plan.dag_id, "experiment": plan.experiment, "campaign": plan.campaign}
    insert_if_new(connection, campaigns, {**row, "first_seen_at": now})
    found = connection.execute(sa.select(campaigns).where(campaigns.c.dag_id == plan.dag_id)).one_or_none()
    if found is None or (found.experiment, found.campaign) != (plan.experiment, plan.campaign):
        there = (
            "another dag_id" if found is None else f"experiment {found.experiment}, campaign {found.campaign}"
        )
        raise LedgerError(
            f"{plan.dag_id} (experiment {plan.experiment}, campaign {plan.campaign}) is there as {there}"
        )


def _pin(connection: Connection, plan: CampaignPlan, *, tranche: str, dag_run_id: str, now: float) -> None:
    """Keep the plan if the tranche is new; else only note who uses the tranche now."""
    new = insert_if_new(
        connection,
        dag_runs,
        {
            "dag_id": plan.dag_id,
            "tranche": tranche,
            "dag_run_id": dag_run_id,
            "plan": plan.to_dict(),
            "spec_sha256": plan.spec_sha256,
            "reserved_at": now,
            "owner": plan.owner,
            "phase": plan.phase,
            "ledger_name": _name(connection),
        },
    )
    if not new:
        mine = (dag_runs.c.dag_id == plan.dag_id) & (dag_runs.c.tranche == tranche)
        connection.execute(sa.update(dag_runs).where(mine).values(dag_run_id=dag_run_id))


def _name(connection: Connection) -> str:
    """Return the ledger's own name; LedgerError where it has none, or several."""
    names = connection.scalars(sa.select(identity.c.name)).all()
    if len(names) != 1 or not names[0]:
        raise LedgerError(
            f"the ledger's table identity has {len(names)} rows in place of one with a name: a part of "
            "it was lost or copied; restore the whole"
        )
    return str(names[0])


def _add(
    connection: Connection, plan: CampaignPlan, *, tranche: str, start: int, count: int, now: float
) -> None:
    """Add slices start..start+count-1; their size is the pinned plan's, so that a tranche is of one piece."""
    pinned = pinned_plan(connection, plan.dag_id, tranche)
    used = _used_runs(connection, plan)
    runs = lowest_unused(used, first=plan.first_run, last=plan.last_run, count=count)
    if runs is None:
        left = max(plan.last_run - plan.first_run + 1 - len(used), 0)
        raise RunRangeError(
            f"{plan.dag_id}, tranche {tranche}: {count} run numbers are needed, {left} are left in "
            f"{plan.first_run}..{plan.last_run} of {plan.experiment}: widen `runs` in {plan.spec_file}"
        )
    common = {"experiment": plan.experiment, "dag_id": plan.dag_id, "tranche": tranche, "reserved_at": now}
    size = {"first_subrun": pinned.first_subrun, "subruns": pinned.subruns}
    rows = [{**common, **size, "run": run, "slice_index": start + offset} for offset, run in enumerate(runs)]
    insert_all(connection, slices, rows)
    count_new(connection, pinned, tranche, [(run, pinned.subruns) for run in runs], now=now)


def _used_runs(connection: Connection, plan: CampaignPlan) -> list[int]:
    """Return the campaign's own runs in its range; RunRangeError if another campaign has some there."""
    same = slices.c.experiment == plan.experiment
    inside = slices.c.run.between(plan.first_run, plan.last_run)
    owners: dict[str, list[int]] = {}
    for row in connection.execute(
        sa.select(slices.c.dag_id, slices.c.run).where(same, inside).order_by(slices.c.run)
    ):
        owners.setdefault(row.dag_id, []).append(row.run)
    used = owners.pop(plan.dag_id, [])
    if owners:
        taken = "; ".join(f"{dag_id} has {spans(runs)}" for dag_id, runs in owners.items())
        highest = connection.scalar(sa.select(sa.func.max(slices.c.run)).where(same))
        raise RunRangeError(
            f"{plan.dag_id}: other campaigns have runs of its range {plan.first_run}..{plan.last_run}: "
            f"{taken}. Give it a range of its own: change `runs` in {plan.spec_file}; "
            f"the highest run used in {plan.experiment} is {highest}"
        )
    return used


def _slices(connection: Connection, dag_id: str, tranche: str) -> tuple[Slice, ...]:
    query = sa.select(slices).where(slices.c.dag_id == dag_id, slices.c.tranche == tranche)
    return tuple(_slice(row) for row in connection.execute(query.order_by(slices.c.slice_index)))


def _slice(row: Row[Any]) -> Slice:
    return Slice(
        dag_id=row.dag_id,
        tranche=row.tranche,
        index=row.slice_index,
        run=row.run,
        first_subrun=row.first_subrun,
        subruns=row.subruns,
    )
