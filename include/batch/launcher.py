"""An experiment's own launcher, which calls jobsub_submit itself; docs/launchers.md has its contract.

Facts about jobsub_lite that this file rests on (https://github.com/fermitools/jobsub_lite): it adds the lines
of JOBSUB_EXTRA_LINES to the submit file, split at every comma and otherwise unchanged, before its own
requirements, which count because they come last.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from include.batch.jobsub import judge, parse_clusters
from include.batch.pool import SubmitAnswer
from include.batch.requirements import REQUEUE_LINES, exclusion_lines, with_requirement
from include.batch.submit_command import read_end, run
from include.campaign.jobsub_options import check_jobsub_options
from include.errors import MissingTool, SubmissionRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.batch.pool import ClusterId, LauncherCall, SubmitRequest

OUTPUT = "launcher.out"
"""In the work folder: what the launcher last said; it outlives the task that started it."""
FILES = "launcher.files"
OPTIONS = "launcher.options"
EXTRA_LINES = "JOBSUB_EXTRA_LINES"


@dataclass(frozen=True, slots=True, kw_only=True)
class LauncherSubmitter:
    """Submits by running the launcher that a request names."""

    environment: Mapping[str, str]
    """To which the contract's variables are added."""

    def command(self, request: SubmitRequest) -> list[str]:
        """Return the launcher's command line; SubmissionRefused for what jobsub_submit could not pass on."""
        launcher = _launcher(request)
        extra_lines(request)
        option_words(request)
        return [launcher.script, *launcher.arguments]

    def submit(self, request: SubmitRequest, *, timeout_s: float) -> SubmitAnswer:
        """Run the launcher within `timeout_s`; the answer has every cluster that it named.

        SubmissionRefused or SubmissionAmbiguous as for our own call, where it named none; MissingTool where
        it cannot be run. An answer proves nothing yet: the jobs are counted in the pool.
        """
        command, launcher = self.command(request), _launcher(request)
        if not os.access(launcher.script, os.X_OK):
            msg = f"the launcher {launcher.script} is not there or not executable, so nothing was submitted"
            raise MissingTool(msg)
        folder = Path(launcher.folder)
        environment = self._variables(request, launcher)
        exit_code, output = run(command, environment, timeout_s, folder=folder, log=folder / OUTPUT)
        clusters = parse_clusters(output)
        if clusters:
            return SubmitAnswer(clusters=clusters, output=output, exit_code=exit_code)
        return judge(output, exit_code=exit_code, command=command, timeout_s=timeout_s, who="the launcher")

    def _variables(self, request: SubmitRequest, launcher: LauncherCall) -> dict[str, str]:
        """Write the two files, and return the launcher's environment."""
        files, options = Path(launcher.folder, FILES), Path(launcher.folder, OPTIONS)
        files.write_text("".join(f"{path}\n" for path in request.files), encoding="utf-8")
        options.write_text("".join(f"{word}\n" for word in option_words(request)), encoding="utf-8")
        lines = [text for text in (self.environment.get(EXTRA_LINES), *extra_lines(request)) if text]
        return {
            **self.environment,
            **dict(launcher.variables),
            "PRODSYS_TAG": request.tag,
            "PRODSYS_JOBS": str(request.jobs),
            "PRODSYS_JOB_FILE": launcher.job_file,
            "PRODSYS_WORKER": request.executable,
            "PRODSYS_FILES": str(files),
            "PRODSYS_OPTIONS": str(options),
            "PRODSYS_GROUP": request.group,
            "PRODSYS_ROLE": request.role or "",
            "PRODSYS_MEMORY_MB": str(request.memory_mb),
            "PRODSYS_DISK_KB": str(request.disk_kb),
            "PRODSYS_CPUS": str(request.cpus),
            "PRODSYS_LIFETIME_S": str(request.lifetime_s),
            EXTRA_LINES: ",".join(lines),
        }


def printed(folder: Path) -> tuple[ClusterId, ...]:
    """Return the clusters that the launcher last named there; none where it was not started."""
    try:
        with (folder / OUTPUT).open("rb") as output:
            return parse_clusters(read_end(output))
    except FileNotFoundError:
        return ()


def extra_lines(request: SubmitRequest) -> list[str]:
    """Return the lines for JOBSUB_EXTRA_LINES, none with a comma; SubmissionRefused where that cannot be."""
    try:
        excluded = exclusion_lines(request.excluded_machines, request.excluded_sites, separator=" ")
    except ValueError as error:
        _refuse(f"excluded nodes or sites: {error}")
    lines = [f'+ProdsysTag="{request.tag}"', *REQUEUE_LINES, *excluded]
    for line in lines:
        if "," in line or any(ord(char) < 32 for char in line) or re.search(r'["$]', request.tag):
            _refuse(f"the line {line!r} holds what {EXTRA_LINES} cannot carry")
    return lines


def option_words(request: SubmitRequest) -> tuple[str, ...]:
    """Return what the launcher gives jobsub_submit as it is: the requirement, and the spec's own options."""
    try:
        check_jobsub_options(request.options)
        words = with_requirement(request.options)
    except ValueError as error:
        _refuse(f"jobsub_options: {error}")
    for word in words:
        if "\n" in word or "\r" in word:
            _refuse(f"jobsub_options: {word!r} holds a line break")
    return words


def _launcher(request: SubmitRequest) -> LauncherCall:
    if request.launcher is None:
        raise SubmissionRefused(f"{request.tag}: the stage has no launcher. Nothing was submitted.")
    return request.launcher


def _refuse(why: str) -> NoReturn:
    raise SubmissionRefused(f"cannot be sent by a launcher: {why}. Nothing was submitted.")
