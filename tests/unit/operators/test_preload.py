"""Workers have what tasks import: nothing that an operator imports when it runs is new to a forked task."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from prodsys_operators import preload

if TYPE_CHECKING:
    import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
OPERATORS = CHECKOUT / "plugins/prodsys_operators"
ELSEWHERE = {"bundle.py", "executor.py", "log_server.py", "plugin.py", "preload.py"}
"""Run in the dag-processor, the scheduler and the api-server only."""
SERVED = {"include.logserver.store", "include.batch.watcher"}
"""Needed by pages and in the triggerer, never by a task's process."""
RARE = {"alembic", "croniter", "h5py", "include.triage.blackholes", "matplotlib", "pandas"}
"""What an upgrade of the ledger, a spec with a schedule, a report, or a campaign with HDF5 files needs."""
NEW = """
import ast, importlib, json, os, sys
from pathlib import Path
from prodsys_operators.preload import preload
exec(sys.argv[2])
troubles = [name for name, _ in preload()]
before = set(sys.modules)
inner = [Path(sys.modules[name].__file__) for name in sorted(before) if name.split(".")[0] == "include"]
names = set(json.loads(sys.argv[1])).union(*(imported_by_functions(file) for file in inner))
rare = set(json.loads(sys.argv[3]))
for name in sorted(names - rare):
    if name.split(".")[0] not in rare:
        importlib.import_module(name)
print(json.dumps({
    "troubles": troubles,
    "new": sorted(set(sys.modules) - before),
    "condor": [name for name in sys.modules if name.split(".")[0] in ("htcondor", "htcondor2", "classad")],
    "threads": len(os.listdir("/proc/self/task")),
    "blas": os.environ.get("OPENBLAS_NUM_THREADS"),
}))
"""


def imported_by_functions(file: Path) -> set[str]:
    """Return the modules that a file's functions import."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    inner = [node for function in functions for node in ast.walk(function)]
    named = {node.module for node in inner if isinstance(node, ast.ImportFrom) and node.module}
    return named | {alias.name for node in inner if isinstance(node, ast.Import) for alias in node.names}


def test_nothing_that_an_operator_imports_is_left_to_the_task() -> None:
    operators = [file for file in OPERATORS.glob("*.py") if file.name not in ELSEWHERE]
    names = set().union(*(imported_by_functions(file) for file in operators)) - SERVED
    assert "include.recovery.review" in names
    done = subprocess.run(
        [
            sys.executable,
            *("-W", "ignore", "-c", NEW),
            json.dumps(sorted(names)),
            inspect.getsource(imported_by_functions),
            json.dumps(sorted(RARE)),
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    told = json.loads(done.stdout.splitlines()[-1])

    assert told == {"troubles": [], "new": [], "condor": [], "threads": 1, "blas": None}


def test_a_module_that_cannot_be_imported_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "MODULES", ("include.nowhere", "json"))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")

    ((name, error),) = preload.preload()

    assert (name, type(error)) == ("include.nowhere", ModuleNotFoundError)
    assert preload.os.environ["OPENBLAS_NUM_THREADS"] == "3"
