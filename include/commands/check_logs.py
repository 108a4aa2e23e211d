"""`prodsys check --folder`: say of each log in a folder, whoever's it is, how its job ended."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from include.campaign.plan import UserCheckPlan
from include.campaign.states import Outcome
from include.checks.log_endings import Ending, LogVerdict, ending_of, report_beside
from include.checks.user import CONTRACT_VERSION, ask_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.checks.log_endings import Files

LOG = re.compile(r".+\.(log|out|err|stdout|stderr)(\.(gz|bz2|xz))?", re.IGNORECASE)
"""How the name of a log ends."""
SHOWN = 20
SCRIPT_TIMEOUT_S = 300
CHECKS: dict[str, Files] = {"exit": "not", "size": "size", "checksum": "read"}
"""Check that `--check` names → what is done about the files of a manifest that lie beside the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderCheck:
    """What is asked of each log."""

    files: Files
    script: Path | None
    """A check of one's own, of scope job."""

    @classmethod
    def of(cls, name: str | None, script: Path | None) -> FolderCheck:
        """Return what the options ask for."""
        if name is not None and name not in CHECKS:
            raise typer.BadParameter(
                f"of a folder of logs, --check is one of {', '.join(CHECKS)}, not {name!r}; "
                "a check of your own is named with --script"
            )
        if script is not None and not os.access(script, os.X_OK):
            raise typer.BadParameter(f"--script {script} is not a file that can be executed")
        return cls(files=CHECKS[name or "size"], script=script)


def check_folder(folder: Path, asked: FolderCheck, *, as_json: bool) -> bool:
    """Show how the job of each log in a folder, and in those below, ended; return whether all went well."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder")
    found = [_checked(path, asked) for path in sorted(logs_in(folder))]
    if not found:
        raise typer.BadParameter(
            f"there is no log in {folder}: none is called *.log, *.out, *.err (or packed)"
        )
    if as_json:
        _say(json.dumps([asdict(item) for item in found], indent=2, ensure_ascii=False))
    else:
        _show(found)
    return all(item.ending is Ending.OK for item in found)


def logs_in(folder: Path) -> Iterator[str]:
    """Yield the paths of the logs below a folder; links to folders are not followed."""
    for place, _, names in os.walk(folder):
        for name in names:
            if LOG.fullmatch(name):
                yield f"{place}/{name}"


def _checked(path: str, asked: FolderCheck) -> LogVerdict:
    """Return what is said of one log; a check of one's own is asked about what is good so far."""
    found = ending_of(path, files=asked.files)
    if asked.script is None or found.ending is not Ending.OK:
        return found
    return _by_script(path, asked.script, found)


def _by_script(path: str, script: Path, found: LogVerdict) -> LogVerdict:
    check = UserCheckPlan(
        name=script.name,
        scope="job",
        script=str(script.resolve()),
        entry="",
        arguments=(),
        timeout_s=SCRIPT_TIMEOUT_S,
    )
    document = {
        "version": CONTRACT_VERSION,
        "check": check.name,
        "scope": "job",
        "experiment": "",
        "campaign": "",
        "job": _job(path),
    }
    verdict = ask_in(str(script.resolve().parent), check, document, {}).verdict
    if verdict.outcome is Outcome.PASSED:
        return found
    ending = Ending.FAILED if verdict.outcome is Outcome.FAILED else Ending.NOT_COMPLETE
    return LogVerdict(
        log=path,
        ending=ending,
        reason=f"{check.name} says {verdict.outcome}: {verdict.reason}",
        evidence=verdict.evidence or path,
    )


def _job(path: str) -> dict[str, Any]:
    """Return a job as a check of scope job is told of it: by prodsys's report beside the log, if any."""
    report = report_beside(path) or {}
    keys = ("tag", "run", "process", "first_subrun", "last_subrun", "execution", "exit_code", "host", "site")
    outputs = report.get("outputs")
    return {
        **{key: report.get(key) for key in (*keys, "started", "ended")},
        "log": str(Path(path).absolute()),
        "inputs": {},
        "outputs": outputs if isinstance(outputs, list) else [],
    }


def _show(found: list[LogVerdict]) -> None:
    counts = {ending: sum(item.ending is ending for item in found) for ending in Ending}
    told = ", ".join(f"{count} {ending}" for ending, count in counts.items() if count)
    _say(f"{len(found)} logs: {told}")
    bad = [item for item in found if item.ending is not Ending.OK]
    for item in bad[:SHOWN]:
        _say(f"  {item.log}: {item.ending}: {item.reason}")
        _say(f"    evidence: {item.evidence}")
    if len(bad) > SHOWN:
        _say(f"  {len(bad) - SHOWN} more; --json shows all")


def _say(text: str) -> None:
    # backslashreplace: half a surrogate pair, of a file name that is not UTF-8, becomes an escape
    typer.echo(text.encode("utf-8", "backslashreplace").decode())
