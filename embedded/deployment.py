"""The embedded default: pool, ledger and Airflow of one checkout, all below one state folder."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import string
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from embedded.pool import PersonalPool
from embedded.pool_config import PoolSettings
from include.errors import MissingTool, ProdsysError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECKOUT = Path(__file__).resolve().parent.parent
START_LIMIT_S = 180.0
STOP_LIMIT_S = 20.0
USER = "admin"

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Airflows started by this process, so that their end can be collected."""


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
    metadata: str = ""
    """SQLAlchemy URL of Airflow's own database; empty: SQLite in the state folder."""
    extra_environment: Mapping[str, str] = field(default_factory=dict)
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
    def log_file(self) -> Path:
        """Where Airflow's components write."""
        return self.state / "airflow.log"

    @property
    def pool(self) -> PersonalPool:
        """The deployment's HTCondor pool."""
        settings = PoolSettings(
            state=self.state / "pool", binaries=self.binaries, job_path=str(self.physics / "bin")
        )
        return PersonalPool(settings, say=self.say)

    @property
    def url(self) -> str:
        """Address of the UI; ProdsysError if it was never started."""
        try:
            return str(json.loads((self.state / "airflow.json").read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError) as error:
            raise ProdsysError(
                f"no Airflow was started in {self.state}; start it with: prodsys up"
            ) from error

    @property
    def password(self) -> str:
        """The UI's password for `admin`."""
        return str(json.loads(self._passwords.read_text(encoding="utf-8"))[USER])

    @property
    def _passwords(self) -> Path:
        return self.home / "passwords.json"

    @property
    def _pid_file(self) -> Path:
        return self.state / "airflow.pid"

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
            "PRODSYS_SPECS": str(self.specs),
            "PRODSYS_AREA": str(self.area),
            "JOBSUB_STANDIN_DIR": str(self.state / "jobsub"),
            **self.extra_environment,
        }

    def start(self) -> None:
        """Start what is not running: the pool, then Airflow; returns when both answer."""
        self.state.mkdir(parents=True, exist_ok=True)
        for folder in (self.home, self.area, self.state / "jobsub"):
            folder.mkdir(parents=True, exist_ok=True)
        self.pool.start()
        self._upgrade_ledger()
        if self.airflow_pid() is not None:
            self.say(f"Airflow is running already: {self.url}")
            return
        ports = _free_ports((8080, 8793, 8794))
        self._write_config(ports)
        self._start_airflow(f"http://127.0.0.1:{ports[0]}")

    def stop(self) -> None:
        """Stop Airflow, then the pool; the queue, the ledger and all files stay."""
        pid = self.airflow_pid()
        if pid is not None:
            _stop_group(pid)
            self.say("Airflow stopped")
        self._pid_file.unlink(missing_ok=True)
        self.pool.stop()

    def airflow_pid(self) -> int | None:
        """Return the process id of Airflow's group leader, None if it is not running."""
        try:
            pid = int(self._pid_file.read_text(encoding="utf-8"))
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"airflow" in arguments else None

    def token(self) -> str:
        """Return a token for Airflow's REST API."""
        answer = httpx.post(
            f"{self.url}/auth/token", json={"username": USER, "password": self.password}, timeout=60
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    # -- parts

    def _upgrade_ledger(self) -> None:
        from include.bookkeeping.ledger import Ledger

        ledger = Ledger(self.ledger_url)
        try:
            ledger.upgrade()
        finally:
            ledger.close()

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
            "secret": self._secret(),
            "passwords": str(self._passwords),
        }
        escaped = {key: value.replace("%", "%%") for key, value in values.items()}
        text = template.substitute(
            escaped, port=port, worker_log_port=worker_log_port, trigger_log_port=trigger_log_port
        )
        (self.home / "airflow.cfg").write_text(text, encoding="utf-8")

    def _secret(self) -> str:
        file = self.home / "secret"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(32), encoding="utf-8")
        return file.read_text(encoding="utf-8")

    def _start_airflow(self, url: str) -> None:
        program = Path(sys.executable).parent / "airflow"
        if not program.exists():
            raise MissingTool(f"{program} is not there; install with: make setup")
        self.say(f"starting Airflow at {url} (log: {self.log_file})")
        with self.log_file.open("ab") as log:
            # Its own process group, to end as a whole: `standalone` leaves its children running on SIGTERM.
            process = subprocess.Popen(
                [sys.executable, str(program), "standalone"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.home,
            )
        _children[process.pid] = process
        self._pid_file.write_text(str(process.pid), encoding="utf-8")
        (self.state / "airflow.json").write_text(json.dumps({"url": url}), encoding="utf-8")
        self._wait_until_healthy(process, url)

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], url: str) -> None:
        began = time.monotonic()
        while time.monotonic() - began < START_LIMIT_S:
            if process.poll() is not None:
                raise ProdsysError(
                    f"Airflow ended with code {process.returncode}; its last words:\n{self._log_tail()}"
                )
            with contextlib.suppress(httpx.HTTPError, ValueError):
                health = httpx.get(f"{url}/api/v2/monitor/health", timeout=10).json()
                if all((health.get(part) or {}).get("status") == "healthy" for part in COMPONENTS):
                    self.say(f"Airflow is up after {time.monotonic() - began:.0f} s")
                    return
            time.sleep(0.5)
        raise ProdsysError(
            f"Airflow was not healthy after {START_LIMIT_S:.0f} s; its last words:\n{self._log_tail()}"
        )

    def _log_tail(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(max(0, self.log_file.stat().st_size - 4000))
            return log.read().decode(errors="replace")


COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")


def _free_ports(wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Return the wanted TCP ports of 127.0.0.1, a free one in the place of each that is taken."""
    ports, held = [], []
    for port in wanted:
        for candidate in (port, 0):
            probe = socket.socket()
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                probe.close()
                continue
            held.append(probe)
            ports.append(int(probe.getsockname()[1]))
            break
    for probe in held:
        probe.close()
    return tuple(ports)


def _stop_group(leader: int) -> None:
    """End a whole process group: politely, then not."""
    for kind, limit in ((signal.SIGTERM, STOP_LIMIT_S), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(leader, kind)
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if leader in _children:
                _children[leader].poll()
            if not _group_alive(leader):
                _children.pop(leader, None)
                return
            time.sleep(0.1)
    raise ProdsysError(f"process group {leader} is still there; look at it with: ps -g {leader}")


def _group_alive(leader: int) -> bool:
    """Whether any process of the group is more than a zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == leader and fields[0] != "Z":
                return True
    return False
