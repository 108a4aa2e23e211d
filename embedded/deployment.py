"""The embedded default: pool, ledger and Airflow of one checkout, all below one state folder."""

from __future__ import annotations

import json
import os
import secrets
import string
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from embedded.airflow_group import AirflowGroup
from embedded.code_digest import code_digest
from embedded.pool import PersonalPool
from embedded.pool_config import Limits, Node, PoolSettings, default_nodes
from embedded.ports import free_ports
from embedded.short_paths import locked
from include.errors import MissingTool, ProdsysError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECKOUT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 400.0
HEALTH_LIMIT_S = 60.0
"""How long parts may be called unhealthy, as after the machine's sleep, before they are started anew."""
PORTS = (8080, 8793, 8794)
"""Wanted ports of the api-server, the workers' logs and the triggerer's."""
COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
"""What Airflow's health page tells of."""
USER = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A pool, a ledger and an Airflow that belong together."""

    state: Path
    """Folder of everything that is kept between two starts."""
    specs: Path = CHECKOUT / "campaign_specs"
    binaries: Path = CHECKOUT / ".prodsys" / "condor"
    """Folder of HTCondor's private binaries, shared by all deployments of a checkout."""
    physics: Path = CHECKOUT / ".prodsys" / "physics"
    """Environment whose programs are on every job's PATH."""
    ledger: str = ""
    """SQLAlchemy URL; empty: SQLite in the state folder."""
    logs: str = ""
    """SQLAlchemy URL of the database of jobs' logs; empty: SQLite in the state folder."""
    metadata: str = ""
    """SQLAlchemy URL of Airflow's own database; empty: SQLite in the state folder."""
    extra_environment: Mapping[str, str] = field(default_factory=dict)
    nodes: tuple[Node, ...] = field(default_factory=default_nodes)
    """Worker nodes of the pool."""
    schedds: tuple[str, ...] = ("ap1",)
    """Short names of the pool's schedds."""
    limits: Limits = Limits.SCHEDD
    """Who holds jobs over their memory or disk."""
    ports: tuple[int, ...] = PORTS
    """Wanted at the first start; 0 is any that is free."""
    say: Callable[[str], None] = print

    # -- places

    @property
    def home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state / "airflow"

    @property
    def area(self) -> Path:
        """Where {area} points: outstage and logs of the embedded pool's jobs."""
        return self.state / "area"

    @property
    def ledger_url(self) -> str:
        """The ledger's URL."""
        return self.ledger or f"sqlite:///{self.state / 'ledger.db'}"

    @property
    def logs_url(self) -> str:
        """The URL of the database of jobs' logs."""
        return self.logs or f"sqlite:///{self.state / 'logs.db'}"

    @property
    def log_file(self) -> Path:
        """Where Airflow's components write."""
        return self.state / "airflow.log"

    @property
    def pool(self) -> PersonalPool:
        """The deployment's HTCondor pool."""
        settings = PoolSettings(
            state=self.state / "pool",
            binaries=self.binaries,
            job_path=str(self.physics / "bin"),
            nodes=self.nodes,
            schedds=self.schedds,
            limits=self.limits,
        )
        return PersonalPool(settings, say=self.say)

    @property
    def url(self) -> str:
        """Address of the UI; ProdsysError if it was never started."""
        ports = self._facts().get("ports")
        if not ports:
            raise ProdsysError(f"no Airflow was started in {self.state}; start it with: prodsys up")
        return f"http://127.0.0.1:{ports[0]}"

    @property
    def password(self) -> str:
        """The UI's password for `admin`."""
        return str(json.loads(self._passwords.read_text(encoding="utf-8"))[USER])

    @property
    def _passwords(self) -> Path:
        return self.home / "passwords.json"

    # -- acts

    def environment(self) -> dict[str, str]:
        """Return the environment in which Airflow, the CLI and the tests talk to this deployment."""
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW__")}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
        return {
            **inherited,
            **self.pool.environment({"PATH": path}),
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW_CONFIG": str(self.home / "airflow.cfg"),
            "PRODSYS_LEDGER": self.ledger_url,
            "PRODSYS_LOGS_DB": self.logs_url,
            "PRODSYS_SPECS": str(self.specs),
            "PRODSYS_AREA": str(self.area),
            "JOBSUB_STANDIN_DIR": str(self.state / "jobsub"),
            **self.extra_environment,
        }

    def shell_environment(self) -> dict[str, str]:
        """Return `environment`, and how commands reach Airflow's REST API where it was started."""
        if not self._facts():
            return self.environment()
        access = {"URL": self.url, "USER": USER, "PASSWORD": self.password}
        return {**self.environment(), **{f"PRODSYS_AIRFLOW_{name}": value for name, value in access.items()}}

    def start(self) -> None:
        """Start what is not running: the pool, then Airflow; returns when both answer."""
        self.state.mkdir(parents=True, exist_ok=True)
        for folder in (self.home, self.area, self.state / "jobsub"):
            folder.mkdir(parents=True, exist_ok=True)
        self.pool.start()
        with locked(self.state / "airflow.lock"):
            group = self.airflow()
            if group is not None:
                trouble = self._code_changed()
                if trouble is None and not self._facts().get("was_up"):
                    # Whoever started it was stopped in between: it may still be making its database.
                    self._wait_until_healthy(group)
                trouble = trouble or self._trouble(group)
                if trouble is None:
                    self.say(f"Airflow is running already: {self.url}")
                    return
                self.say(f"{trouble}: all of Airflow is started anew")
                group.end()
            # Not while Airflow runs with other code: its tasks would find a ledger that is not theirs.
            self._upgrade_databases()
            # Who has the UI open, and tasks that still run, ask where it was.
            ports = free_ports(tuple(self._facts().get("ports") or self.ports))
            self._write_config(ports)
            self._start_airflow(ports)

    def stop(self) -> None:
        """Stop Airflow, then the pool; the queue, the ledger and all files stay."""
        if self.state.exists():
            with locked(self.state / "airflow.lock"):
                group = self.airflow()
                if group is not None:
                    group.end()
                    self.say("Airflow stopped")
        self.pool.stop()

    def airflow(self) -> AirflowGroup | None:
        """Return Airflow's processes, None if none of them lives."""
        values = self._facts().get("group")
        group = AirflowGroup.from_dict(values) if values else None
        return group if group is not None and group.members() else None

    def token(self) -> str:
        """Return a token for Airflow's REST API."""
        answer = httpx.post(
            f"{self.url}/auth/token", json={"username": USER, "password": self.password}, timeout=60
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    # -- parts

    def _code_changed(self) -> str | None:
        same = self._facts().get("code") == code_digest(CHECKOUT)
        return None if same else "prodsys's code is not what Airflow was started with"

    def _upgrade_databases(self) -> None:
        from include.bookkeeping.ledger import Ledger
        from include.logserver.store import LogStore

        with Ledger(self.ledger_url) as ledger, LogStore(self.logs_url) as logs:
            ledger.upgrade()
            logs.upgrade()

    def _write_config(self, ports: tuple[int, ...]) -> None:
        if not self._passwords.exists():
            self._passwords.touch(mode=0o600)
            self._passwords.write_text(json.dumps({USER: secrets.token_urlsafe(12)}), encoding="utf-8")
        template = string.Template((CHECKOUT / "airflow.cfg.template").read_text(encoding="utf-8"))
        port, worker_log_port, trigger_log_port = ports
        values = {
            "home": str(self.home),
            "metadata": self.metadata or f"sqlite:///{self.home / 'airflow.db'}",
            "specs": str(self.specs),
            "dags": str(
                self.state / "dags" if self.specs != CHECKOUT / "campaign_specs" else CHECKOUT / "dags"
            ),
            "plugins": str(CHECKOUT / "plugins"),
            "area": str(self.area),
            "work_dir": str(self.state / "submissions"),
            "ledger": self.ledger_url,
            "logs_db": self.logs_url,
            "secret": self._secret("secret"),
            # Not Airflow's: a token that a job holds must be worth nothing there.
            "log_key": self._secret("log_key"),
            "passwords": str(self._passwords),
        }
        escaped = {key: value.replace("%", "%%") for key, value in values.items()}
        text = template.substitute(
            escaped, port=port, worker_log_port=worker_log_port, trigger_log_port=trigger_log_port
        )
        (self.home / "airflow.cfg").write_text(text, encoding="utf-8")

    def _secret(self, name: str) -> str:
        file = self.home / name
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        return file.read_text(encoding="utf-8")

    def _facts(self) -> dict[str, Any]:
        """Return what the last start wrote down: ports and processes; nothing where there was none."""
        try:
            facts: dict[str, Any] = json.loads((self.state / "airflow.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return facts

    def _write_facts(self, facts: dict[str, Any]) -> None:
        new = self.state / "airflow.json.new"
        new.write_text(json.dumps(facts), encoding="utf-8")
        new.replace(self.state / "airflow.json")

    def _start_airflow(self, ports: tuple[int, ...]) -> None:
        program = Path(sys.executable).parent / "airflow"
        if not program.exists():
            raise MissingTool(f"{program} is not there; install with: make setup")
        code = code_digest(CHECKOUT)
        self.say(f"starting Airflow at http://127.0.0.1:{ports[0]} (log: {self.log_file})")
        with self.log_file.open("ab") as log:
            # A session of its own, to end as a whole: `standalone` leaves its children running on SIGTERM.
            process = subprocess.Popen(
                [sys.executable, str(program), "standalone"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home,
            )
        group = AirflowGroup.of(process, self.home)
        self._write_facts({"ports": ports, "group": group.to_dict(), "code": code, "was_up": False})
        self._wait_until_healthy(group)

    def _wait_until_healthy(self, group: AirflowGroup) -> None:
        began = time.monotonic()
        while time.monotonic() - began < START_LIMIT_S:
            code = group.collect()
            if code is not None or "standalone" in group.missing():
                group.end()
                ended = "ended" if code is None else f"ended with code {code}"
                raise ProdsysError(f"Airflow {ended}; its last words:\n{self._log_tail()}")
            if not self._unhealthy():
                self._refuse_another(group)
                self._write_facts({**self._facts(), "was_up": True})
                self.say(f"Airflow is up after {time.monotonic() - began:.0f} s")
                return
            time.sleep(0.5)
        raise ProdsysError(
            f"Airflow was not healthy after {START_LIMIT_S:.0f} s; its last words:\n{self._log_tail()}"
        )

    def _refuse_another(self, group: AirflowGroup) -> None:
        """Raise ProdsysError if what answers is another Airflow, which took the port first."""
        try:
            self.token()
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.UNAUTHORIZED:
                raise
            url = self.url
            group.end()
            self._write_facts({})
            raise ProdsysError(f"another Airflow took {url} at the same time: start again") from error

    def _trouble(self, group: AirflowGroup) -> str | None:
        """Say what is wrong with the Airflow that runs; None if nothing is."""
        began = time.monotonic()
        while True:
            missing = group.missing()
            if missing:
                return f"Airflow's {' and '.join(missing)} died"
            unhealthy = self._unhealthy()
            if not unhealthy:
                return None
            if time.monotonic() - began > HEALTH_LIMIT_S:
                return f"Airflow's {' and '.join(unhealthy)} was not healthy for {HEALTH_LIMIT_S:.0f} s"
            time.sleep(0.5)

    def _unhealthy(self) -> tuple[str, ...]:
        """Return the parts that Airflow does not call healthy; the api-server alone if it does not answer."""
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=10).json()
        except (httpx.HTTPError, ValueError):
            return ("api-server",)
        return tuple(part for part in COMPONENTS if (health.get(part) or {}).get("status") != "healthy")

    def _log_tail(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - 4000))
            return log.read().decode(errors="replace")
