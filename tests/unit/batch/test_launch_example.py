"""The launcher of the documentation, with a jobsub_submit that notes what it was given."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.jobsub.options import Options, parse
from embedded.jobsub.submission import Submission, submit_text
from include.batch.condor_ads import first_unit
from include.batch.launcher import LauncherSubmitter
from include.batch.pool import LauncherCall
from include.batch.requirements import REQUEUE_LINES, REQUIREMENT
from tests.unit.batch.conftest import TAG, request

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "tests/integration/specs/launched/launch.sh"
JOBSUB = """\
#!/bin/bash
number=$(ls calls 2>/dev/null | wc -l)
mkdir -p calls
printf '%s\\0' "$@" > "calls/$number"
echo "Use job id $((number + 7)).0@ap1.pool to retrieve output"
"""


def test_it_is_the_one_that_is_run_on_a_real_pool() -> None:
    text = (ROOT / "docs/launchers.md").read_text(encoding="utf-8")
    example = re.search(r"```sh\n(#!/bin/bash\n.*?)```", text, re.DOTALL)
    assert example
    assert EXAMPLE.read_text(encoding="utf-8") == example[1]


@pytest.mark.parametrize(("jobs", "cut"), [(5, [(0, 2), (2, 3)]), (2, [(0, 1), (1, 1)]), (1, [(0, 1)])])
def test_its_calls(tmp_path: Path, jobs: int, cut: list[tuple[int, int]]) -> None:
    (tmp_path / "jobsub_submit").write_text(JOBSUB)
    (tmp_path / "jobsub_submit").chmod(0o755)
    for name in ("prodsys_job.py", "job.json", "gen it.sh"):
        (tmp_path / name).touch()
    sent = (tmp_path / "job.json", tmp_path / "gen it.sh")
    call = LauncherCall(
        script=str(EXAMPLE), arguments=(), folder=str(tmp_path), job_file=str(sent[0]), variables=()
    )
    asked = replace(
        request(),
        jobs=jobs,
        executable=str(tmp_path / "prodsys_job.py"),
        role="Production",
        files=tuple(map(str, sent)),
        options=("--site", "A,B", "-c", "(X > 1)"),
        excluded_machines=("wn1.x", "wn2.x"),
        launcher=call,
    )
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    answer = LauncherSubmitter(environment=environment).submit(asked, timeout_s=60)
    assert answer.exit_code == 0, answer.output
    assert [each.cluster for each in answer.clusters] == [7 + number for number in range(len(cut))]
    variables = LauncherSubmitter(environment={})._variables(asked, call)
    for number, (first, count) in enumerate(cut):
        words = (tmp_path / "calls" / str(number)).read_bytes().decode().split("\0")[:-1]
        options = parse(words, variables)
        assert (options.jobs, first_unit(" ".join(options.arguments))) == (count, first)
        assert options.arguments[:2] == ("run", "job.json")
        check(options, tmp_path)


def check(options: Options, folder: Path) -> None:
    """Compare one call with what was asked for."""
    assert (options.memory_mb, options.disk_kb, options.cpus, options.lifetime_s) == (500, 1024, 1, 600)
    assert (options.group, options.role, options.sites) == ("demo", "Production", "A,B")
    assert options.requirements == f"((X > 1)) && {REQUIREMENT}"
    assert options.dropbox_files == (folder / "job.json", folder / "gen it.sh")
    assert options.lines == (
        f'+ProdsysTag="{TAG}"',
        *REQUEUE_LINES,
        '+ProdsysExcludedHosts="wn1.x wn2.x"',
    )
    text = submit_text(options, Submission(folder=folder, schedd="s", user="u", uuid="i", command="c"))
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("arguments")] == [
        f"arguments = {' '.join(options.arguments)}"
    ]
    assert set(options.lines) <= set(lines)
