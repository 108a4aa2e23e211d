"""Where this deployment keeps things: the `[prodsys]` section of airflow.cfg, read once and late."""

from __future__ import annotations

import os
from configparser import ConfigParser
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from include.errors import ProdsysError

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.batch.pool import Submitter
    from include.batch.pool_process import PoolProcess
    from include.bookkeeping.ledger import Ledger
    from include.logserver.store import LogStore

SECTION = "prodsys"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One deployment's settings; each is the option of the same name, documented in airflow.cfg.template."""

    ledger: str
    """SQLAlchemy URL of the bookkeeping database."""
    specs: str
    """Folder of campaign specs."""
    area: str
    """What {area} in a spec's storage paths stands for."""
    work_dir: str
    """Folder that holds what each submission sent."""
    jobsub_submit: str = "jobsub_submit"
    """Program that submits; found on PATH."""
    poll_interval: float = 10.0
    """Seconds between two polls of a schedd."""
    submit_timeout: float = 600.0
    """Seconds after which jobsub_submit is killed and its end called ambiguous."""
    submit_grace: float = 120.0
    """Seconds after which the tag's absence proves that nothing was submitted (docs/batch.md)."""
    triage_rules: str = ""
    """Folder of further triage rules (docs/triage.md)."""
    max_jobs_per_experiment: int = 0
    """Most jobs of an experiment in flight; 0: no limit; so for the next (docs/limits.md)."""
    max_jobs_per_schedd: int = 0
    """Most jobs in flight for each schedd that there is, in all."""
    truth_limit: float = 900.0
    """Seconds for which ledger, pool and storage may disagree before it is raised (docs/operating.md)."""
    remove_when_failed: bool = False
    """Whether marking a wait failed in Airflow removes its jobs from the queue (docs/operating.md)."""

    logs_db: str = ""
    """SQLAlchemy URL of the logs' database; empty: logs.db beside an SQLite ledger (docs/log-server.md)."""
    log_server: str = ""
    """Address that jobs send their logs to; empty: they send none."""
    log_key: str = field(default="", repr=False)
    """Signs the tokens that jobs send logs with."""
    log_days: int = 60
    """Days that a log is kept after its last post; 0: no limit."""
    log_space: str = "50 GB"
    """The most that all logs take; 0 B: no limit."""

    @property
    def rules_folder(self) -> Path | None:
        """The folder of further triage rules; None where there is none."""
        return Path(self.triage_rules) if self.triage_rules else None

    def open_ledger(self) -> Ledger:
        """Open the ledger; LedgerError if it is not at this version's schema."""
        from include.bookkeeping.ledger import Ledger

        return Ledger(self.ledger)

    @property
    def logs_url(self) -> str:
        """SQLAlchemy URL of the logs' database; ProdsysError where it must be said."""
        if self.logs_db:
            return self.logs_db
        place, _, name = self.ledger.rpartition("/")
        if not place.startswith("sqlite:") or not name:
            raise ProdsysError(
                f"airflow.cfg, section [{SECTION}]: logs_db not set, and the ledger is no SQLite file beside "
                "which it could be; see airflow.cfg.template"
            )
        return f"{place}/logs.db"

    def open_logs(self) -> LogStore:
        """Open the store of logs; LogsError once it is used if it is not at this version's schema."""
        from include.logserver.store import LogStore

        return LogStore(self.logs_url)

    def open_pool(self) -> PoolProcess:
        """Return the HTCondor pool that this machine is configured for, asked with a time limit."""
        from include.batch.pool_process import PoolProcess

        return PoolProcess()

    def open_submitter(self) -> Submitter:
        """Return what submits."""
        from include.batch.jobsub import JobsubSubmitter

        return JobsubSubmitter(program=self.jobsub_submit)

    def open_launcher(self) -> Submitter:
        """Return what submits by the launcher that a request names."""
        from include.batch.launcher import LauncherSubmitter

        return LauncherSubmitter(environment=dict(os.environ))


@cache
def settings() -> Settings:
    """Read the `[prodsys]` section; ProdsysError names the option that is missing or wrong."""
    values: dict[str, Any] = {}
    for option in fields(Settings):
        text = conf.get(SECTION, option.name, fallback=None)
        if text is None:
            continue
        values[option.name] = _READ.get(str(option.type), _text)(option.name, text)
    missing = [name for name in ("ledger", "specs", "area", "work_dir") if not values.get(name)]
    if missing:
        raise ProdsysError(
            f"airflow.cfg, section [{SECTION}]: {', '.join(missing)} not set; see airflow.cfg.template"
        )
    return Settings(**values)


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ProdsysError(f"airflow.cfg, section [{SECTION}]: {name} = {text!r} is not a number") from error


def _whole(name: str, text: str) -> int:
    if not text.strip().isdecimal():
        raise ProdsysError(
            f"airflow.cfg, section [{SECTION}]: {name} = {text!r} is not a whole number from 0 on"
        )
    return int(text)


def _truth(name: str, text: str) -> bool:
    states = ConfigParser.BOOLEAN_STATES
    if text.strip().lower() not in states:
        raise ProdsysError(
            f"airflow.cfg, section [{SECTION}]: {name} = {text!r} is neither yes nor no: write one of them"
        )
    return states[text.strip().lower()]


def _text(_name: str, text: str) -> str:
    return text


_READ: dict[str, Callable[[str, str], Any]] = {"float": _seconds, "int": _whole, "bool": _truth}


def spec_path(spec_file: str | Path) -> Path:
    """Return the absolute path of a spec given relative to the folder of specs."""
    return Path(settings().specs) / spec_file
