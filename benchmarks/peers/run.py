"""prodsys and its peers on one pool: gen N → reco N → ordered merge, the same payload for all.

Run by `make bench-peers`; `python -m benchmarks.peers.run --help` tells of the options. Results go to
benchmarks/peers/results/, from which `benchmarks.peers.table` makes the table and the plot.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.peers.bps_engine import Bps
from benchmarks.peers.dagman import TUNED, Dagman
from benchmarks.peers.engine import CHECKOUT, HERE, PEERS, Case, Engine, kill, write_payload
from benchmarks.peers.law_engine import Law
from benchmarks.peers.measure import (
    QUERIES,
    Meter,
    ScheddLog,
    executions,
    history,
    last_cluster,
    merged_in_order,
)
from benchmarks.peers.prodsys_engine import Prodsys
from benchmarks.peers.snakemake_engine import Snakemake
from embedded.pool import PersonalPool
from embedded.pool_config import Node, PoolSettings
from include.errors import ProdsysError

SLOTS = 8
DOWN_S = 5.0
"""How long an engine stays dead."""
LOOK_S = 0.25
ENGINES = {
    "dagman": Dagman,
    "dagman-tuned": lambda: Dagman("DAGMan, tuned", TUNED),
    "law": Law,
    "bps": Bps,
    "snakemake": Snakemake,
    "prodsys": Prodsys,
}


def ideal_s(n: int, nap_s: float) -> float:
    """Return the least time that the naps take in the slots."""
    return 2 * math.ceil(n / SLOTS) * nap_s


def run_case(
    engine: Engine, case: Case, *, schedd_log: Path, limit_s: float, kill_it: bool
) -> dict[str, Any]:
    """Run a case, kill the engine once half of gen is done if asked, and return what was measured."""
    write_payload(case)
    engine.prepare(case)
    before = last_cluster(case.environment)
    log, meter = ScheddLog(schedd_log), Meter(engine.processes())
    wall, began = time.time(), time.monotonic()
    killed = not kill_it
    verdict, cpu = None, 0.0
    engine.start()
    while verdict is None and time.monotonic() - began < limit_s:
        time.sleep(LOOK_S)
        cpu = meter.read(engine.processes())
        verdict = engine.ended()
        if not killed and executions(case).gen_completed >= case.n // 2:
            killed = True
            kill_and_resume(engine, meter)
            verdict = None
    took = time.monotonic() - began
    commands = log.commands()
    ran = executions(case)
    result = {
        "makespan_s": round(took, 1),
        "ideal_s": ideal_s(case.n, case.nap_s),
        "engine_cpu_s": round(cpu, 2),
        "queries": sum(commands.get(name, 0) for name in QUERIES),
        "commands": commands,
        "duplicates": ran.duplicates,
        "broken_off": ran.broken_off,
        "jobs_completed": ran.wanted,
        "verdict": "did not finish" if verdict is None else verdict or "success",
        "merged_in_order": merged_in_order(engine.result(), case.n),
    }
    rows = history(case.environment, after=before)
    if len(rows) >= case.n:
        result["queued_s"] = max(1.0, round(rows[case.n - 1].queued + 1 - wall, 1))
    return result


def kill_and_resume(engine: Engine, meter: Meter) -> None:
    """Kill -9 the engine, leave it dead for a while, and go on as its documentation says."""
    meter.read(engine.processes())
    meter.killed()
    kill(engine.processes())
    time.sleep(DOWN_S)
    engine.resume()


def clean_up(environment: dict[str, str]) -> None:
    """Empty the queue, so that the next case finds the pool idle."""
    subprocess.run(["condor_rm", "-all"], env=environment, capture_output=True, check=False, timeout=120)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        done = subprocess.run(
            ["condor_q", "-allusers", "-af", "ClusterId"],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        if not done.stdout.strip():
            return
        time.sleep(1)


def start_pool(state: Path) -> PersonalPool:
    """Start a pool of one node with SLOTS slots, whose schedd logs each command that it gets."""
    settings = PoolSettings(
        state=state,
        binaries=CHECKOUT / ".prodsys/condor",
        port=0,
        nodes=(Node(name="wn1", cpus=SLOTS),),
        extra="SCHEDD_DEBUG = D_COMMAND D_SUB_SECOND\nMAX_SCHEDD_LOG = 500000000\n",
    )
    pool = PersonalPool(settings)
    pool.start()
    return pool


def machine() -> dict[str, Any]:
    """Say where this ran, and how busy it was."""
    versions = subprocess.run(
        [str(PEERS / "python"), "-c", _VERSIONS], capture_output=True, text=True, check=True, timeout=60
    )
    return {
        "cpus": os.cpu_count(),
        "slots": SLOTS,
        "python": platform.python_version(),
        "versions": json.loads(versions.stdout),
        "load": [round(value, 1) for value in os.getloadavg()],
    }


_VERSIONS = """
import json
from importlib.metadata import version
names = ["law", "lsst-ctrl-bps-htcondor", "snakemake", "snakemake-executor-plugin-htcondor", "htcondor"]
print(json.dumps({name: version(name) for name in names}))
"""


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", default="10 100", help="sizes, such as '10 100 1000'")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="number of the first repeat")
    parser.add_argument("--engines", default=" ".join(ENGINES))
    parser.add_argument("--nap", type=float, default=1.0, help="seconds that each gen and reco job sleeps")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds until a case is given up")
    parser.add_argument("--kill", action="store_true", help="kill -9 each engine once half of gen is done")
    parser.add_argument("--results", type=Path, default=HERE / "results")
    parser.add_argument("--keep", action="store_true", help="leave the cases' folders")
    return parser.parse_args()


def main() -> None:
    """Run every case, engines in turn, and write a result file for each."""
    chosen = options()
    chosen.results.mkdir(parents=True, exist_ok=True)
    # Not below /tmp: DAGMan refuses node logs there.
    home = Path(tempfile.mkdtemp(prefix="peers-", dir=CHECKOUT / ".prodsys"))
    pool = start_pool(home / "pool")
    path = os.pathsep.join([str(PEERS), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, **pool.environment({"PATH": path})}
    environment = {key: value for key, value in environment.items() if not key.startswith("AIRFLOW")}
    facts = machine()
    try:
        for repeat in range(chosen.first, chosen.first + chosen.repeats):
            for n in (int(word) for word in chosen.n.split()):
                for key in chosen.engines.split():
                    one(chosen, home, environment, (key, n, repeat), facts)
    finally:
        pool.stop()
        if not chosen.keep:
            shutil.rmtree(home, ignore_errors=True)


def one(
    chosen: argparse.Namespace,
    home: Path,
    environment: dict[str, str],
    which: tuple[str, int, int],
    facts: dict[str, Any],
) -> None:
    """Run one case, and write its result."""
    key, n, repeat = which
    engine: Engine = ENGINES[key]()
    folder = home / f"{key}.{n}.{repeat}"
    folder.mkdir()
    case = Case(folder=folder, n=n, nap_s=chosen.nap, pool=home / "pool", environment=environment)
    load = round(os.getloadavg()[0], 1)
    try:
        result = run_case(
            engine,
            case,
            schedd_log=home / "pool/log/ap1/SchedLog",
            limit_s=chosen.limit,
            kill_it=chosen.kill,
        )
    except (OSError, httpx.HTTPError, ProdsysError, subprocess.SubprocessError) as error:
        result = {"verdict": f"{type(error).__name__}: {error}"[:500]}
    finally:
        engine.close()
        clean_up(environment)
    kind = "killed" if chosen.kill else "plain"
    record = {"engine": engine.name, "n": n, "repeat": repeat, "killed": chosen.kill, "nap_s": chosen.nap}
    record |= {"limit_s": chosen.limit, "load_before": load} | result | {"machine": facts}
    file = chosen.results / f"{key}.{n}.{kind}.{repeat}.json"
    file.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    shown = {name: value for name, value in record.items() if name not in {"machine", "commands"}}
    print(json.dumps(shown), flush=True)


if __name__ == "__main__":
    main()
