"""jobsub_q, jobsub_rm, jobsub_hold and jobsub_release: condor's commands by jobsub's job ids."""

from __future__ import annotations

import argparse
import re
import subprocess
from collections import defaultdict
from typing import TYPE_CHECKING

from embedded.jobsub.errors import JobsubError
from embedded.jobsub.options import NOTICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_JOB_ID = re.compile(r"(\d+)(\.\d+)?@(\S+)")
COMMANDS = {"q": "condor_q", "rm": "condor_rm", "hold": "condor_hold", "release": "condor_release"}


def main(action: str, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run one of the four; like the real ones it takes no notice of condor's exit code."""
    given = _parser(action).parse_args(arguments)
    group = given.group or environ.get("JOBSUB_GROUP") or environ.get("GROUP") or ""
    by_schedd = _by_schedd([*given.jobids.split(","), *given.job_id])
    if action != "q" and not by_schedd and not given.constraint:
        raise JobsubError(f"jobsub_{action} needs -J JOBID or --constraint EXPRESSION")
    for command in _commands(action, given.constraint, group, by_schedd):
        try:
            subprocess.run(command, check=False, stdin=subprocess.DEVNULL, timeout=600)
        except FileNotFoundError as error:
            raise JobsubError(
                f"{command[0]} is not on PATH: source the output of `prodsys pool env`"
            ) from error
    return 0


def _commands(
    action: str, constraint: str, group: str, by_schedd: Mapping[str, list[str]]
) -> list[list[str]]:
    tool = [COMMANDS[action]]
    wanted = ["-constraint", constraint] if constraint else []
    if by_schedd:
        return [[*tool, "-name", schedd, *ids, *wanted] for schedd, ids in by_schedd.items()]
    if action == "q":
        mine = [f'Jobsub_Group == "{group}"'] if group else []
        terms = [*mine, *([constraint] if constraint else [])]
        narrowed = ["-constraint", " && ".join(f"({term})" for term in terms)] if terms else []
        return [[*tool, "-global", "-allusers", "-nobatch", *narrowed]]
    return [[*tool, "-name", schedd, *wanted] for schedd in _schedds()]


def _schedds() -> list[str]:
    done = subprocess.run(
        ["condor_status", "-schedd", "-constraint", "IsJobsubLite =?= True", "-af", "Name"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout.split()


def _by_schedd(ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for text in (part.strip() for part in ids):
        if not text:
            continue
        match = _JOB_ID.fullmatch(text)
        if match is None:
            raise JobsubError(f"{text}: not a job id; write CLUSTER@SCHEDD or CLUSTER.PROCESS@SCHEDD")
        found[match[3]].append(match[1] + (match[2] or ""))
    return found


def _parser(action: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"jobsub_{action}", description=NOTICE)
    add = parser.add_argument
    add("-G", "--group", default="", help="experiment; else $JOBSUB_GROUP, else $GROUP")
    add("--role", default="", help="taken, and ignored here")
    add("-J", "--jobid", dest="jobids", default="", help="comma list of CLUSTER[.PROCESS]@SCHEDD")
    add("--constraint", "-constraint", default="", help="ClassAd expression")
    add("job_id", nargs="*", help="CLUSTER[.PROCESS]@SCHEDD")
    return parser
