"""Deterministic names: tags, submission keys, areas."""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import PurePosixPath

_INTERVAL = "%Y-%m-%dT%H:%M:%SZ"


def interval_tranche(start: dt.datetime) -> str:
    """Return the tranche of dag_runs of the data interval that begins at `start`, which knows its zone."""
    return start.astimezone(dt.UTC).strftime(_INTERVAL)


def interval_of(tranche: str) -> dt.datetime | None:
    """Return where the data interval of a tranche begins; None for that of a dag_run by hand."""
    try:
        return dt.datetime.strptime(tranche, _INTERVAL).replace(tzinfo=dt.UTC)
    except ValueError:
        return None


def submission_tag(
    *, dag_id: str, tranche: str, run: int, stage: str, recovery: int = 0, ledger: str = ""
) -> str:
    """Return the tag that every job of one submission carries in its ad as `ProdsysTag`.

    `tranche` is the dag_run's key in the ledger (see `bookkeeping.records.Slice`), `run` the slice's run,
    `ledger` the ledger's own name: two ledgers may have the same campaign on the same schedds.
    """
    tag = f"{dag_id}/{tranche}/{run:06d}/{stage}/recovery-{recovery}"
    return f"{tag}/{ledger}" if ledger else tag


def submission_key(tag: str) -> str:
    """Return 12 hex digits that name the tag in paths."""
    return hashlib.sha256(tag.encode()).hexdigest()[:12]


def area_of(base: str, *, stage: str, run: int, tag: str) -> str:
    """Return the folder below the outstage or log area `base` that one submission writes into."""
    return str(PurePosixPath(base) / stage / f"{run:06d}" / submission_key(tag))
