"""500 campaigns through the real dag-processor: how long until each has its DAG in Airflow's database.

Run: python -m benchmarks.bench_processor [CAMPAIGNS] [PARSING_PROCESSES…]; prints JSON lines. Airflow's
start is told apart: the second time is from the first DAG on. CPU time is of the whole dag-processor.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.bench_parse import make_specs

LIMIT_S = 400.0
BUNDLES = """[{{"name": "campaigns", "classpath": "prodsys_operators.bundle.CampaignBundle",
"kwargs": {{"specs": "{specs}", "dags": "{dags}"}}}}]"""


def environment(state: Path, processes: int) -> dict[str, str]:
    """Return the environment of an Airflow of its own."""
    own = {
        "AIRFLOW_HOME": str(state / "home"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": str(processes),
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": BUNDLES.format(
            specs=state / "specs", dags=state / "dags"
        ),
        "AIRFLOW__PRODSYS__SPECS": str(state / "specs"),
        "AIRFLOW__PRODSYS__AREA": str(state / "area"),
        "AIRFLOW__PRODSYS__WORK_DIR": str(state / "work"),
        "AIRFLOW__PRODSYS__LEDGER": f"sqlite:///{state / 'ledger.db'}",
    }
    return {**{key: value for key, value in os.environ.items() if not key.startswith("AIRFLOW")}, **own}


def dags_in(database: Path) -> int:
    """Return how many DAGs are serialized."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=60)
    try:
        return int(connection.execute("SELECT count(DISTINCT dag_id) FROM serialized_dag").fetchone()[0])
    finally:
        connection.close()


def one(campaigns: int, processes: int) -> dict[str, float]:
    """Let a new dag-processor parse everything once."""
    with tempfile.TemporaryDirectory(prefix="bench-processor-") as name:
        state = Path(name)
        make_specs(state / "specs", campaigns)
        variables = environment(state, processes)
        airflow = str(Path(sys.executable).parent / "airflow")
        subprocess.run(
            [airflow, "db", "migrate"], env=variables, capture_output=True, check=True, timeout=300
        )
        database, wanted = state / "home/airflow.db", campaigns - 1
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with (state / "log").open("wb") as log:
            process = subprocess.Popen([airflow, "dag-processor"], env=variables, stdout=log, stderr=log)
            began = time.monotonic()
            first = last = 0.0
            while time.monotonic() - began < LIMIT_S and not last:
                time.sleep(0.2)
                found = dags_in(database)
                now = time.monotonic()
                first = first or (now if found else 0.0)
                last = now if found >= wanted else 0.0
            # It may take its time over a polite end.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return {
            "dags": dags_in(database),
            "start_to_first_s": round(first - began, 1),
            "first_to_last_s": round((last or time.monotonic()) - first, 1),
            "cpu_s": round(cpu, 1),
        }


def main(campaigns: int, *processes: int) -> None:
    """Measure with each number of parsing processes."""
    for each in processes:
        print(
            json.dumps({"campaigns": campaigns, "parsing_processes": each, **one(campaigns, each)}),
            flush=True,
        )


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:] or ["500", "2"]))
