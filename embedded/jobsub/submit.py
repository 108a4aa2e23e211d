"""jobsub_submit: choose a schedd, write the submission, hand it to condor_submit, answer as jobsub_lite."""

from __future__ import annotations

import getpass
import random
import re
import shlex
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.jobsub.errors import JobsubError
from embedded.jobsub.options import NOTICE, Options, parse
from embedded.jobsub.submission import DAG_FILE, SUBMIT_FILE, Submission, write

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RULE = f"\n{'=-' * 30}\n\n"


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run jobsub_submit; like the real one it returns 0 when condor_submit fails."""
    options = parse(arguments, environ)
    if options.ignored:
        _complain(f"{NOTICE} Ignored: {', '.join(options.ignored)}.")
    schedd = options.schedd or _choose_schedd(options.group)
    submission = Submission(
        folder=_new_folder(environ),
        schedd=schedd,
        user=_user(environ),
        uuid=str(uuid.uuid4()),
        command=shlex.join(["jobsub_submit", *arguments]),
    )
    write(options, submission)
    if options.no_submit:
        _print(f"Submission files are in: {submission.folder}\n")
        return 0
    file = SUBMIT_FILE if options.max_concurrent is None else f"{DAG_FILE}.condor.sub"
    if options.max_concurrent is not None:
        _run(
            ["condor_submit_dag", "-no_submit", "-batch-name", options.executable.name, DAG_FILE],
            submission.folder,
        )
    done = _run(["condor_submit", "-name", schedd, file], submission.folder)
    _report(done, options, submission)
    return 0


def _report(done: subprocess.CompletedProcess[str], options: Options, submission: Submission) -> None:
    if done.returncode < 0:
        _complain(f"{_RULE}Error: Child was terminated by signal {-done.returncode}{_RULE}")
    elif done.returncode > 0:
        _complain(f"{_RULE}Error: condor_submit exited with failed status code {done.returncode}\n\n{_RULE}")
    elif found := re.search(r"job\(s\) submitted to cluster (\d+)\.", done.stdout):
        job_id = f"{found[1]}.0@{submission.schedd}"
        _print(f"{_RULE}Use job id {job_id} to retrieve output{_RULE}\n")
        for command in options.job_info:
            subprocess.run(
                [*shlex.split(command), job_id, submission.command],
                stdin=subprocess.DEVNULL,
                timeout=300,
                check=False,
            )


def _choose_schedd(group: str) -> str:
    """Pick one of the schedds that serve the group at random, an idle one more often than a busy one."""
    constraint = (
        "IsJobsubLite =?= True && InDownTime =!= True"
        f' && (SupportedVOList =?= undefined || stringListIMember("{group}", SupportedVOList))'
    )
    command = [
        "condor_status",
        "-schedd",
        "-constraint",
        constraint,
        "-af:t",
        "Name",
        "RecentDaemonCoreDutyCycle",
    ]
    done = _call(command, Path.cwd())
    if done.returncode:
        raise JobsubError(f"the pool's collector does not answer: {done.stderr.strip()}")
    weights = {}
    for line in done.stdout.splitlines():
        name, _, text = line.partition("\t")
        duty = float(text) if re.fullmatch(r"[\d.eE+-]+", text) else 0.0
        weights[name] = 10.0 / duty if duty > 0.01 else 1000.0
    if not weights:
        raise JobsubError("Error: No schedds satisfying the constraint were found")
    return random.choices(list(weights), weights=list(weights.values()))[0]  # noqa: S311 - not a secret


def _new_folder(environ: Mapping[str, str]) -> Path:
    chosen = environ.get("JOBSUB_STANDIN_DIR")
    if chosen:
        Path(chosen).mkdir(parents=True, exist_ok=True)
    prefix = time.strftime("js_%Y_%m_%d_%H%M%S_")
    return Path(tempfile.mkdtemp(prefix=prefix, dir=chosen or None)).resolve()


def _user(environ: Mapping[str, str]) -> str:
    user = environ.get("GRID_USER") or getpass.getuser()
    return re.sub(r"[^A-Za-z0-9_-]", "_", user)


def _run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a condor command in the submission's folder and pass on what it says."""
    done = _call(command, folder)
    _print(done.stdout)
    sys.stderr.write(done.stderr)
    sys.stderr.flush()
    return done


def _call(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command,
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=3600,
        )
    except FileNotFoundError as error:
        raise JobsubError(f"{command[0]} is not on PATH: source the output of `prodsys pool env`") from error


def _print(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
