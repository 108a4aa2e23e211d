"""The job program's tests run the real program as a process of its own, in temporary folders.

PRODSYS_JOB_PYTHON names another Python to run it with, such as a 3.6.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from include.batch.package import job_file_text

if TYPE_CHECKING:
    from collections.abc import Callable

PYTHON = os.environ.get("PRODSYS_JOB_PYTHON", sys.executable)
PROGRAM = Path(__file__).parents[3] / "include" / "worker" / "prodsys_job.py"
REPORT_KEYS = {
    "version", "tag", "execution", "cluster", "process", "schedd", "global_job_id", "run", "first_subrun",
    "last_subrun", "host", "site", "node", "started", "ended", "exit_code", "exit_signal", "failed_at",
    "error", "cpu_s", "max_rss_kb", "outputs", "log", "selfcheck",
}  # fmt: skip


def selfcheck(document: dict[str, Any]) -> str:
    """The rule of docs/job-contract.md, written down a second time on purpose."""
    rest = {key: value for key, value in document.items() if key != "selfcheck"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Job:
    """A folder with what a submission sends, and the areas that the job writes to."""

    program = (PYTHON, str(PROGRAM))

    def __init__(self, base: Path) -> None:
        self.base = base
        self.sent, self.outstage, self.logs = base / "sent", base / "outstage", base / "logs"
        self.scratch = base / "scratch"
        self.sent.mkdir(parents=True)
        self.scratch.mkdir()
        self.document: dict[str, Any] = {
            "version": 1,
            "tag": "demo.test/manual/000012/gen/recovery-0",
            "experiment": "demo",
            "campaign": "test",
            "stage": "gen",
            "run": 12,
            "script": "work.sh",
            "arguments": [],
            "environment": {},
            "events": 5,
            "units": [
                {"first_subrun": 3, "last_subrun": 3, "inputs": {}},
                {"first_subrun": 4, "last_subrun": 4, "inputs": {}},
            ],
            "outputs": [
                {
                    "name": "default",
                    "file_name": "dts.{run:06d}_{subrun:08d}.txt",
                    "tree": None,
                    "events": None,
                }
            ],
            "outstage": str(self.outstage),
            "logs": str(self.logs),
            "merge": None,
        }
        self.environment = {
            "PATH": os.environ["PATH"],
            "CONDOR_DIR_INPUT": str(self.sent),
            "_CONDOR_SCRATCH_DIR": str(self.scratch),
            "CLUSTER": "77",
            "PROCESS": "0",
            "JOBSUBJOBID": "77.0@ap1.example.org",
        }

    def script(self, text: str, *, mode: int = 0o755, interpreter: str = "/bin/sh") -> None:
        path = self.sent / "work.sh"
        path.write_text(f"#!{interpreter}\n{text}", encoding="utf-8")
        path.chmod(mode)

    def good_script(self, more: str = "", **options: Any) -> None:
        """Write a script that makes its output and then does `more`."""
        good = 'printf "%s events\\n" "$PRODSYS_EVENTS" > "$PRODSYS_OUTPUT"\necho "subrun $PRODSYS_SUBRUN"\n'
        self.script(good + more, **options)

    def write_job_file(self) -> None:
        """Write job.json as prodsys does."""
        known = isinstance(self.document["units"], list)
        text = job_file_text(self.document) if known else json.dumps(self.document)
        (self.sent / "job.json").write_text(text, encoding="utf-8")

    def start(self, *options: str) -> subprocess.Popen[bytes]:
        self.write_job_file()
        return self.start_only(*options)

    def start_only(self, *options: str) -> subprocess.Popen[bytes]:
        """Start the program without writing job.json."""
        return subprocess.Popen(
            [*self.program, "run", "job.json", "--least", "0", *options],
            cwd=self.scratch,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *options: str) -> tuple[int, str]:
        self.write_job_file()
        return self.run_only(*options)

    def run_only(self, *options: str) -> tuple[int, str]:
        """Run the program without writing job.json."""
        job = self.start_only(*options)
        text, _ = job.communicate(timeout=60)
        return job.returncode, text.decode()

    selfcheck = staticmethod(selfcheck)

    def tool(self, *arguments: object, **variables: str) -> tuple[int, str]:
        """Run another command of the program; it never shows a traceback."""
        command = [*self.program, *map(str, arguments)]
        environment = {**os.environ, **variables}
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=60, text=True, env=environment
        )
        assert done.stderr == ""
        return done.returncode, done.stdout

    @staticmethod
    def wait_until(condition: Callable[[], bool], limit_s: float = 30) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come true in time"
            time.sleep(0.02)

    def reports(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_bytes()) for path in sorted(self.logs.glob("*/report.json"))]

    def report(self) -> dict[str, Any]:
        """The one report, complete and with a selfcheck that agrees."""
        (report,) = self.reports()
        assert set(report) == REPORT_KEYS
        assert report["selfcheck"] == selfcheck(report)
        return report

    def published(self) -> list[Path]:
        return sorted(self.outstage.iterdir()) if self.outstage.is_dir() else []


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """A job that needs its script written to be complete."""
    return Job(tmp_path)


@pytest.fixture
def make_job() -> type[Job]:
    """For a job in a folder of the test's own choice."""
    return Job
