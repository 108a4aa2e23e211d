"""jobsub_submit: the command line it is given, and what its output proves.

Facts about jobsub_lite that this file rests on (https://github.com/fermitools/jobsub_lite):

- its exit code is 0 when condor_submit fails, so only a job id in the output is success;
- it removes a layer of backslashes and pairs of single quotes from every argument (`backslash_escape_layer`);
- `-e` values go into condor's old environment syntax, joined by `;`; arguments are joined by blanks.

What would not survive that is refused before anything is run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from include.batch.pool import ClusterId, SubmitAnswer
from include.batch.requirements import REQUEUE_LINES, exclusion_lines, with_requirement
from include.batch.submit_command import TOKEN, run, story, telling, which
from include.campaign.jobsub_options import changed_by_jobsub, check_jobsub_options
from include.errors import MissingTool, SubmissionAmbiguous, SubmissionRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.batch.pool import SubmitRequest

JOB_ID = re.compile(r"Use job id (\d+)\.\d+@(\S+) to retrieve output")
SUBMITTED = re.compile(r"(\d+) job\(s\) submitted to cluster (\d+)\.")
FAILED = re.compile(r"Error: condor_submit exited with failed status code (\d+)")
USAGE = re.compile(r"^usage: .*?^\S+: error: ", re.MULTILINE | re.DOTALL)
SIGN_OF_A_CLUSTER = re.compile(r"submitted to cluster|Use job id|\*\* Proc \d+\.\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsubSubmitter:
    """Submits through `jobsub_submit`, the real one or any with its options and output."""

    program: str = "jobsub_submit"
    """Name on PATH, or a path."""
    environment: Mapping[str, str] | None = None
    """The command's whole environment; None: the one of this process."""

    def command(self, request: SubmitRequest) -> list[str]:
        """Return the command line for `request`; SubmissionRefused if jobsub could not pass something on."""
        _check(request)
        command = [self.program, "-G", request.group]
        if request.role is not None:
            command += ["--role", request.role]
        command += [
            *("-N", str(request.jobs)),
            *(
                "--memory",
                f"{request.memory_mb}MB",
                "--disk",
                f"{request.disk_kb}KB",
                "--cpu",
                str(request.cpus),
            ),
            *("--expected-lifetime", f"{request.lifetime_s}s"),
            *("--lines", f'+ProdsysTag="{request.tag}"'),
        ]
        for line in (*REQUEUE_LINES, *_exclusion_lines(request)):
            command += ["--lines", line]
        for name, value in request.environment:
            command += ["-e", f"{name}={value}"]
        for path in request.files:
            command += ["-f", f"dropbox://{path}"]
        options = _with_requirement(request.options)
        return [*command, *options, f"file://{request.executable}", *request.arguments]

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:
        """Submit `request` within `timeout_s`; see the Submitter protocol for what it raises."""
        command = self.command(request)
        path = which(self.program, self.environment)
        if path is None:
            msg = (
                f"{self.program} is not on PATH, so nothing was submitted. Put jobsub_lite's bin folder "
                "on PATH, or for the personal pool run `prodsys pool start` and use its environment."
            )
            raise MissingTool(msg)
        exit_code, output = run([path, *command[1:]], self.environment, timeout_s)
        return judge(output, exit_code=exit_code, command=command, timeout_s=timeout_s)


def parse_clusters(output: str) -> tuple[ClusterId, ...]:
    """Return the clusters whose job ids the output of jobsub_submit names, sorted, each once."""
    return tuple(
        sorted({ClusterId(schedd=schedd, cluster=int(cluster)) for cluster, schedd in JOB_ID.findall(output)})
    )


def judge(
    output: str, *, exit_code: int | None, command: list[str], timeout_s: float, who: str = "jobsub_submit"
) -> SubmitAnswer:
    """Say what one run of jobsub_submit proves; `exit_code` is None where it had to be killed.

    A job id is success. A failed condor_submit, or a usage error, without any sign of a cluster is a refusal.
    All else is ambiguous.
    """
    clusters = parse_clusters(output)
    if clusters:
        return SubmitAnswer(clusters=clusters, output=output)
    text = story(output, exit_code=exit_code, command=command, timeout_s=timeout_s)
    refused = FAILED.search(output) or (exit_code == 2 and USAGE.search(output))
    if exit_code is not None and refused and not SIGN_OF_A_CLUSTER.search(output):
        todo = "Nothing was submitted. Correct the cause, then clear the task."
        msg = f"{who} refused: {telling(output)}\n{text}\n{todo}"
        raise SubmissionRefused(msg)
    why = f"did not end within {timeout_s:g} s and was killed" if exit_code is None else "named no job id"
    said = telling(output)
    token = "Likely the token: renew it here, for the user that this runs as.\n" if TOKEN.search(said) else ""
    msg = (
        f"{who} {why} ({said}): jobs may or may not exist.\n{text}\n{token}"
        "Do not submit by hand: the tag decides. The next try adopts what carries it, and submits only once "
        "every schedd has answered that nothing does."
    )
    raise SubmissionAmbiguous(msg)


def _check(request: SubmitRequest) -> None:
    """Refuse what jobsub or condor would change or split on the way to the job."""
    if request.jobs < 1:
        _refuse("jobs", str(request.jobs), "at least one job must be submitted")
    if not request.executable.startswith("/"):
        _refuse("executable", request.executable, "it must be an absolute path")
    _check_word("executable", PurePosixPath(request.executable).name)
    for path in request.files:
        if not path.startswith("/"):
            _refuse("file", path, "it must be an absolute path")
        _check_word("file name", PurePosixPath(path).name)
    for argument in request.arguments:
        _check_word("argument", argument)
    for part in (request.executable, *request.files, request.group, request.role or "", request.tag):
        _check_text("value", part)
    if re.search(r'["$]', request.tag):
        _refuse("tag", request.tag, 'it may not hold " or $')
    _check_environment(request.environment)
    _check_options(request.options)


def _check_environment(environment: tuple[tuple[str, str], ...]) -> None:
    """Refuse variables that the submit file's environment cannot carry."""
    for name, value in environment:
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            _refuse("variable name", name, "letters, digits and _ only")
        _check_text(f"value of {name}", value)
        if re.search(r'[;"]|\$\(', value) or value != value.strip():
            _refuse(f"value of {name}", value, "condor's environment cannot carry ; \" $( or outer blanks")


def _check_options(options: tuple[str, ...]) -> None:
    """Refuse options that would change what is submitted or how it is numbered."""
    try:
        check_jobsub_options(options)
    except ValueError as error:
        msg = f"jobsub_options: {error}. Nothing was submitted."
        raise SubmissionRefused(msg) from error


def _with_requirement(options: tuple[str, ...]) -> tuple[str, ...]:
    """Return the options with the requirement that keeps jobs off excluded nodes."""
    try:
        return with_requirement(options)
    except ValueError as error:
        msg = f"jobsub_options: {error}. Nothing was submitted."
        raise SubmissionRefused(msg) from error


def _exclusion_lines(request: SubmitRequest) -> list[str]:
    """Return the lines that name the excluded nodes and sites."""
    try:
        return exclusion_lines(request.excluded_machines, request.excluded_sites)
    except ValueError as error:
        msg = f"excluded nodes or sites: {error}. Nothing was submitted."
        raise SubmissionRefused(msg) from error


def _check_word(what: str, word: str) -> None:
    """Refuse what the job's shell or condor's file lists would split or expand."""
    if not re.fullmatch(r"[A-Za-z0-9_.+:/@=~%^-]+", word):
        _refuse(
            what, word, "jobsub passes it through a shell; use letters, digits and _ . + : / @ = ~ % ^ - only"
        )


def _check_text(what: str, text: str) -> None:
    """Refuse what jobsub_lite or the submit file would change."""
    if changed_by_jobsub(text) != text:
        _refuse(what, text, "jobsub_submit takes out backslashes and single quotes")
    if any(ord(char) < 32 or char == "\x7f" for char in text):
        _refuse(what, text, "it holds a line break or another control character")


def _refuse(what: str, value: str, why: str) -> None:
    """Raise SubmissionRefused for one value of the request."""
    msg = f"cannot be sent by jobsub_submit: {what} {value!r}: {why}. Nothing was submitted."
    raise SubmissionRefused(msg)
