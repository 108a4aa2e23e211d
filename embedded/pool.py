"""The personal HTCondor pool: real daemons, several pretended nodes, on this machine alone."""

from __future__ import annotations

import json
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.binaries import Binaries, find_binaries
from embedded.pool_config import BLACK_HOLE, BLACK_HOLE_TEXT, Layout, PoolSettings, render
from embedded.ports import free_port, is_free
from embedded.processes import MARK, end, has_mark, is_alive, pool_processes, wait_gone
from embedded.short_paths import locked, short_path
from include.errors import MissingTool, PoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

STUBS = Path(__file__).resolve().parent / "bin"
"""The folder with jobsub_submit and its fellows."""

DEFAULT_PORT = 9618

# "$1" and "$2" are passwd and group files, the rest is the command. Root may not own jobs, so a user
# namespace shows root as an ordinary account: HTCondor thinks it is that account, and its jobs can use what
# is root's.
_AS_ROOT = """\
mount --bind "$1" /etc/passwd && mount --bind "$2" /etc/group || exit
shift 2
exec unshare -U "$@"
"""
_PLAIN = 'ulimit -n 8192 2>/dev/null || :; exec "$@"'


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolStatus:
    """What a pool is doing."""

    running: bool
    pid: int | None
    """Of condor_master."""
    port: int | None
    config: Path
    nodes: tuple[str, ...]
    """Machines whose startd has reported."""
    schedds: tuple[str, ...]
    """Full names of the schedds that have reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """What the last start settled; kept in pool.json."""

    port: int
    name: str
    bin: str
    private: bool
    version: str
    nodes: int
    schedds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Account:
    """Under which name HTCondor knows the pool's owner."""

    name: str
    uid: int


class PersonalPool:
    """Starts and stops one pool; everything it is lies in its state folder."""

    def __init__(self, settings: PoolSettings, *, say: Callable[[str], None] = lambda _: None) -> None:
        self.settings = settings
        self._say = say
        self._real = settings.state.resolve()

    @property
    def config(self) -> Path:
        """CONDOR_CONFIG of the pool, on a path that HTCondor can take."""
        return short_path(self._real) / "condor_config"

    def start(self) -> PoolStatus:
        """Start the pool, or adopt the one that runs here; return once every daemon has reported."""
        began = time.monotonic()
        self._real.mkdir(parents=True, exist_ok=True)
        with locked(self._real / "start.lock"):
            pid = self._master()
            if pid is not None:
                return self._adopt(pid)
            self._end_leftovers()
            binaries = find_binaries(self.settings.binaries, say=self._say)
            for port in self._ports():
                if self._launch(port, binaries):
                    break
            else:
                raise PoolError(
                    f"the pool found no port on 127.0.0.1 that it could keep, see {self._real}/log"
                )
        status = self.status()
        self._say(
            f"the pool is up on port {status.port} with {len(status.nodes)} nodes"
            f" and {', '.join(status.schedds)} ({time.monotonic() - began:.1f} s)"
        )
        return status

    def _adopt(self, pid: int) -> PoolStatus:
        """Take over a pool that runs; whoever started it may have been killed before it was up."""
        facts = self._facts()
        if facts is None or not self._wait_up(facts):
            raise PoolError(
                f"condor_master {pid} of {self._real} runs and does not answer: prodsys pool stop"
            )
        self._say(f"the pool is already running (condor_master {pid})")
        return self.status()

    def stop(self) -> None:
        """Stop the pool and all its processes, jobs included; the queue stays for the next start."""
        if not self._real.exists():
            return
        with locked(self._real / "start.lock"):
            master = self._master()
            if master is not None:
                # Fast shutdown: running jobs are evicted.
                end([master], signal.SIGQUIT)
                wait_gone([master], 15)
            self._end_leftovers()
            (self._real / "master.pid").unlink(missing_ok=True)
        self._say("the pool is stopped")

    def status(self) -> PoolStatus:
        """Return what runs; asks the collector."""
        pid = self._master()
        facts = self._facts()
        ads = self._ads() if pid is not None and facts else []
        return PoolStatus(
            running=pid is not None,
            pid=pid,
            port=facts.port if pid is not None and facts else None,
            config=self.config,
            nodes=tuple(sorted({ad[2] for ad in ads if ad[0] == "Machine"})),
            schedds=tuple(sorted(ad[1] for ad in ads if ad[0] == "Scheduler")),
        )

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the variables for whoever submits; jobsub's stand-in is last on PATH, so a real one wins."""
        path = (os.environ if base is None else base).get("PATH", os.defpath)
        facts = self._facts()
        if facts is None:
            raise PoolError(f"no pool was ever started in {self._real}: prodsys pool start")
        parts = [part for part in path.split(":") if part != str(STUBS)]
        if facts.private:
            # In front: an older HTCondor of the machine may be there too.
            parts = [facts.bin, *(part for part in parts if part != facts.bin)]
        elif facts.bin not in parts:
            parts.append(facts.bin)
        return {
            "CONDOR_CONFIG": str(self.config),
            "PATH": ":".join([*parts, str(STUBS)]),
            "PRODSYS_PYTHON": sys.executable,
        }

    def _facts(self) -> _Facts | None:
        try:
            return _Facts(**json.loads((self._real / "pool.json").read_text()))
        except FileNotFoundError:
            return None

    def _master(self) -> int | None:
        try:
            pid = int((self._real / "master.pid").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if is_alive(pid) and has_mark(pid, self._real) else None

    def _ports(self) -> list[int]:
        """Return ports to try: the wanted one, the last one (clients may still ask there), any free one."""
        facts = self._facts()
        last = facts.port if facts else 0
        wanted = self.settings.port
        first = [last or DEFAULT_PORT] if wanted is None else [wanted, last]
        for port in first[:1]:
            if port and not is_free(port):
                self._say(f"port {port} is taken: using another")
        return [*(port for port in dict.fromkeys(first) if port and is_free(port)), free_port(), free_port()]

    def _launch(self, port: int, binaries: Binaries) -> bool:
        """Start the daemons on `port`; False if somebody else's collector answers there."""
        state = short_path(self._real)
        account = self._account(binaries)
        layout = Layout(state=state, port=port, name=f"prodsys-{secrets.token_hex(6)}", user=account.name)
        facts = self._lay_out(layout, binaries)
        self._say(f"starting HTCondor {binaries.version} ({binaries.sbin})")
        command = [str(binaries.sbin / "condor_master"), "-pidfile", str(state / "master.pid")]
        if os.geteuid() == 0:
            command = self._as_root(command, account)
        with (self._real / "log/launch").open("w") as messages:
            done = subprocess.run(
                ["sh", "-c", _PLAIN, "sh", *command],
                env={**self.environment(), "HOME": str(state), MARK: str(self._real)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                cwd="/",
                start_new_session=True,
                timeout=60,
                check=False,
            )
        if done.returncode:
            raise PoolError(
                f"condor_master did not start: {_last_line(self._real / 'log/launch')}{_root_hint()}"
            )
        return self._wait_up(facts) or self._give_up_port()

    def _as_root(self, command: list[str], account: _Account) -> list[str]:
        for tool in ("unshare", "mount"):
            if shutil.which(tool) is None:
                raise MissingTool(
                    f"{tool} is not on PATH and root needs it for the pool: apt-get install util-linux"
                )
        files = []
        for name, line in (
            ("passwd", f"{account.name}:x:{account.uid}:{account.uid}::{self._real}:/bin/sh"),
            ("group", f"{account.name}:x:{account.uid}:"),
        ):
            kept = [
                old
                for old in Path(f"/etc/{name}").read_text(errors="surrogateescape").splitlines()
                if old.split(":")[0] != account.name
            ]
            (self._real / name).write_text("\n".join([*kept, line, ""]), errors="surrogateescape")
            files.append(str(self._real / name))
        mapping = [f"--map-user={account.uid}", f"--map-group={account.uid}"]
        return ["unshare", "-m", "sh", "-c", _AS_ROOT, "sh", *files, *mapping, *command]

    def _account(self, binaries: Binaries) -> _Account:
        if os.geteuid() == 0:
            taken = {entry.pw_uid for entry in pwd.getpwall()}
            return _Account(name="prodsys", uid=next(uid for uid in range(4444, 60000) if uid not in taken))
        lines = Path("/etc/passwd").read_text(errors="replace").splitlines()
        names = {int(line.split(":")[2]): line.split(":")[0] for line in lines if line.count(":") >= 6}
        name = names.get(os.geteuid())
        if name is None and not binaries.private:
            name = pwd.getpwuid(os.geteuid()).pw_name
        if name is None:
            raise PoolError(
                f"user {os.geteuid()} is not in /etc/passwd, and private HTCondor binaries know"
                " no other directory of users: install HTCondor on this machine, or use a local account"
            )
        return _Account(name=name, uid=os.geteuid())

    def _give_up_port(self) -> bool:
        self._end_leftovers()
        return False

    def _lay_out(self, layout: Layout, binaries: Binaries) -> _Facts:
        folders = [
            "lock",
            "run",
            "log",
            *(f"{kind}/{name}" for name in self.settings.schedds for kind in ("spool", "log")),
            *(f"{kind}/{node.name}" for node in self.settings.nodes for kind in ("execute", "log")),
        ]
        for folder in folders:
            (self._real / folder).mkdir(parents=True, exist_ok=True)
        (self._real / "master.pid").unlink(missing_ok=True)
        hole = self._real / BLACK_HOLE
        hole.write_text(BLACK_HOLE_TEXT)
        hole.chmod(0o755)
        facts = _Facts(
            port=layout.port,
            name=layout.name,
            bin=str(binaries.bin),
            private=binaries.private,
            version=binaries.version,
            nodes=len(self.settings.nodes),
            schedds=len(self.settings.schedds),
        )
        for name, text in (
            ("condor_config", render(self.settings, layout, binaries)),
            ("pool.json", json.dumps(asdict(facts)) + "\n"),
        ):
            new = self._real / f"{name}.new"
            new.write_text(text)
            new.replace(self._real / name)
        return facts

    def _wait_up(self, facts: _Facts) -> bool:
        """Wait until every daemon has reported to our collector; False if another collector answers."""
        deadline = time.monotonic() + self.settings.start_timeout_s
        while time.monotonic() < deadline:
            ads = self._ads()
            collectors = {ad[1] for ad in ads if ad[0] == "Collector"}
            if collectors and not any(collector.startswith(facts.name) for collector in collectors):
                return False
            machines = {ad[2] for ad in ads if ad[0] == "Machine"}
            schedds = sum(ad[0] == "Scheduler" for ad in ads)
            if collectors and len(machines) >= facts.nodes and schedds >= facts.schedds:
                return True
            time.sleep(0.1)
        last = _last_line(self._real / "log/MasterLog")
        self._end_leftovers()
        raise PoolError(
            f"the pool was not up after {self.settings.start_timeout_s:.0f} s, see {self._real}/log: {last}"
        )

    def _ads(self) -> list[list[str]]:
        """Return (MyType, Name, Machine) of every ad in the collector; nothing while it does not answer."""
        try:
            done = subprocess.run(
                ["condor_status", "-any", "-af:t", "MyType", "Name", "Machine"],
                env={**os.environ, **self.environment()},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return []
        return [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 2]

    def _end_leftovers(self) -> None:
        """End processes of this pool that outlived their master."""
        config = self.config
        for sig, patience in ((signal.SIGTERM, 2), (signal.SIGKILL, 5), (signal.SIGKILL, 5)):
            left = pool_processes(self._real, config)
            if not left:
                return
            end(left, sig)
            wait_gone(left, patience)
        left = pool_processes(self._real, config)
        if left:
            raise PoolError(f"processes of the pool cannot be ended: {sorted(left)}")


def _last_line(file: Path) -> str:
    lines = file.read_text(errors="replace").strip().splitlines() if file.exists() else []
    return lines[-1] if lines else f"{file} is empty"


def _root_hint() -> str:
    return (
        "; root needs to make namespaces for it: run as an ordinary user, or give the container CAP_SYS_ADMIN"
        if os.geteuid() == 0
        else ""
    )
