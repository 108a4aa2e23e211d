"""Parsing: 500 campaigns, one of them broken; a full pass, and what one task's own re-parse costs.

Run by `make bench`; prints JSON lines. Seconds are wall time: compare the ratio to the imports.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
COUNT = 500
ONE_FILE = """
import json, sys, time
began = time.perf_counter()
import airflow.sdk, prodsys_operators.campaign_dag
imported = time.perf_counter()
from pathlib import Path
namespace = {}
exec(compile(Path(sys.argv[1]).read_text(), sys.argv[1], "exec"), namespace)
parsed = time.perf_counter()
assert namespace["dag"].dag_id == sys.argv[2]
print(json.dumps({"import_s": imported - began, "parse_s": parsed - imported}))
"""


def make_specs(folder: Path, count: int) -> None:
    """Write `count` copies of the demo spec under other names; the last one is broken."""
    demo = folder / "demo"
    shutil.copytree(CHECKOUT / "campaign_specs" / "demo", demo)
    text = (demo / "pythia.yaml").read_text(encoding="utf-8")
    for file in demo.glob("*.yaml"):
        file.unlink()
    for number in range(count):
        broken = text.replace("stages:", "stagse:") if number == count - 1 else text
        (demo / f"c{number:03d}.yaml").write_text(broken, encoding="utf-8")


def one_task(dag_file: Path, dag_id: str, environment: dict[str, str]) -> dict[str, float]:
    """Parse one DAG file in a process of its own, as a task does; best of five."""
    runs = []
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", ONE_FILE, str(dag_file), dag_id],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    return min(runs, key=lambda run: run["parse_s"])


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        make_specs(state / "specs", COUNT)
        environment = os.environ | {
            "AIRFLOW_HOME": str(state / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGBAG_IMPORT_ERROR_TRACEBACKS": "False",
            "AIRFLOW__PRODSYS__SPECS": str(state / "specs"),
            "AIRFLOW__PRODSYS__AREA": str(state / "area"),
            "AIRFLOW__PRODSYS__WORK_DIR": str(state / "work"),
            "AIRFLOW__PRODSYS__LEDGER": f"sqlite:///{state / 'ledger.db'}",
        }
        os.environ.update(environment)
        began = time.perf_counter()
        from airflow.dag_processing.dagbag import DagBag

        import prodsys_operators.campaign_dag  # noqa: F401  its imports are not a campaign's
        from prodsys_operators.bundle import CampaignBundle

        imported = time.perf_counter() - began
        bundle = CampaignBundle(name="campaigns", specs=str(state / "specs"), dags=str(state / "dags"))
        began = time.perf_counter()
        bundle.initialize()
        wrote = time.perf_counter()
        bag = DagBag(dag_folder=str(state / "dags"), bundle_path=state / "dags", bundle_name="campaigns")
        parsed = time.perf_counter()
        campaigns = [dag_id for dag_id in bag.dags if dag_id.startswith("demo.")]
        assert len(campaigns) == COUNT - 1, len(campaigns)
        assert len(bag.import_errors) == 1, bag.import_errors
        print(
            json.dumps(
                {
                    "bench": "full pass",
                    "campaigns": COUNT,
                    "dags": len(campaigns),
                    "errors": 1,
                    "import_s": round(imported, 2),
                    "bundle_s": round(wrote - began, 2),
                    "parse_s": round(parsed - wrote, 2),
                }
            )
        )
        many = one_task(state / "dags" / "demo" / "c007.py", "demo.c007", environment)
        shutil.rmtree(state / "specs")
        make_specs(state / "specs", 9)
        few = one_task(state / "dags" / "demo" / "c007.py", "demo.c007", environment)
        print(
            json.dumps(
                {
                    "bench": "one task's own parse",
                    "campaigns": COUNT,
                    **{k: round(v, 4) for k, v in many.items()},
                }
            )
        )
        print(
            json.dumps(
                {"bench": "one task's own parse", "campaigns": 9, **{k: round(v, 4) for k, v in few.items()}}
            )
        )


if __name__ == "__main__":
    main()
