"""Check family: the experiment's own checks, called by the contract of docs/user-checks.md.

Their word can make a job failed or unknown; it can never make bad outputs good. A check that breaks, hangs or
answers nonsense gives `unknown`, with what it did as the reason.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from include.campaign.states import Outcome
from include.checks.child import MAX_STDOUT, Ended, run_bounded
from include.checks.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.campaign.plan import CampaignPlan, UserCheckPlan

CONTRACT_VERSION = 1
MAX_TEXT = 1000
"""Characters of a reason or an evidence that are kept."""
PASSED_ON = ("PATH", "HOME", "LANG", "TZ")
"""What a check inherits of prodsys's own environment."""
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswer:
    """What a check of scope stage or campaign says of one job."""

    tag: str
    """The job's submission; empty where the check does not say."""
    process: int
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check said."""

    verdict: Verdict
    jobs: tuple[JobAnswer, ...] = ()


def ask(
    plan: CampaignPlan, check: UserCheckPlan, document: Mapping[str, Any], values: Mapping[str, int]
) -> Answer:
    """Run a check on what `document` describes; `values` fill in its arguments."""
    told = {"experiment": plan.experiment, "campaign": plan.campaign, **document}
    return ask_in(_folder(plan), check, told, values)


def ask_in(
    folder: str, check: UserCheckPlan, document: Mapping[str, Any], values: Mapping[str, int]
) -> Answer:
    """Run a check in a folder, on a document that names its experiment and campaign itself."""
    name = f"{os.path.basename(check.script)}" if check.script else check.entry  # noqa: PTH119
    try:
        ended = run_bounded(
            _command(check, values),
            stdin=json.dumps(document, ensure_ascii=True).encode(),
            timeout_s=check.timeout_s,
            environment=_environment(check, document),
            folder=folder,
        )
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or str(error)
        return _no_answer(check, f"{name} cannot be started: {text}")
    problem = _problem(name, ended, timeout_s=check.timeout_s)
    if problem:
        last = _last_line(ended.stderr)
        return _no_answer(check, f"{problem}: {last}" if last else problem)
    try:
        return _answer(check, ended.stdout)
    except ValueError as error:
        return _no_answer(check, f"{name} gave no verdict: {_clean(str(error))}")


def _command(check: UserCheckPlan, values: Mapping[str, int]) -> list[str]:
    arguments = [template.format(**values) for template in check.arguments]
    if check.script:
        return [check.script, *arguments]
    # -P: the folder it runs in must not hide modules of Python or prodsys.
    return [sys.executable, "-P", "-m", "include.checks.entry", check.entry, *arguments]


def _folder(plan: CampaignPlan) -> str:
    folder = os.path.dirname(os.path.abspath(plan.spec_file))  # noqa: PTH100, PTH120
    return folder if os.path.isdir(folder) else "/"  # noqa: PTH112


def _environment(check: UserCheckPlan, document: Mapping[str, Any]) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    keys = ("experiment", "campaign", "stage", "run", "tag")
    said = {key: document[key] for key in keys if document.get(key) is not None}
    own = {"check": check.name, "scope": check.scope}
    return {"PATH": os.defpath, **inherited} | {
        f"PRODSYS_{key.upper()}": str(value) for key, value in {**own, **said}.items()
    }


def _no_answer(check: UserCheckPlan, reason: str) -> Answer:
    return Answer(verdict=_verdict(check, Outcome.UNKNOWN, reason, check.script or check.entry))


def _verdict(check: UserCheckPlan, outcome: Outcome, reason: str, evidence: str) -> Verdict:
    return Verdict(check=check.name, outcome=outcome, reason=_clean(reason), evidence=_clean(evidence))


def _problem(name: str, ended: Ended, *, timeout_s: int) -> str:
    """Return what a check did in place of answering; empty where it may have answered."""
    if ended.flooded:
        return f"{name} wrote more than {MAX_STDOUT} bytes and was stopped"
    if ended.timed_out or ended.code is None:
        return f"{name} gave no answer within {timeout_s} s and was stopped"
    if ended.code < 0:
        try:
            return f"signal {-ended.code} ({signal.Signals(-ended.code).name}) ended {name}"
        except ValueError:
            return f"signal {-ended.code} ended {name}"
    return f"{name} ended with exit code {ended.code}" if ended.code else ""


def _last_line(stderr: bytes) -> str:
    lines = (_clean(line) for line in reversed(stderr.decode("utf-8", errors="replace").splitlines()))
    return next((line for line in lines if line), "")


def _clean(text: str) -> str:
    """Return text that a terminal and a database can take: one line, no control characters, cut."""
    plain = _ESCAPES.sub("", text[: 4 * MAX_TEXT])
    cleaned = " ".join("".join(char if char.isprintable() else " " for char in plain).split())
    return cleaned if len(cleaned) <= MAX_TEXT else cleaned[:MAX_TEXT] + "…"


def _answer(check: UserCheckPlan, stdout: bytes) -> Answer:
    """Return a check's answer; ValueError says what is wrong with it."""
    said = _load(stdout)
    jobs: tuple[JobAnswer, ...] = ()
    if check.scope != "job" and "verdicts" in said:
        if not isinstance(said["verdicts"], list):
            _refuse("its 'verdicts' is not a list")
        jobs = tuple(_job(check, item) for item in said["verdicts"])
    if jobs and "outcome" not in said:
        return Answer(verdict=_sum(check, jobs), jobs=jobs)
    verdict = _one(check, said)
    against = next((job for job in jobs if job.verdict.outcome is not Outcome.PASSED), None)
    if against is not None and verdict.outcome is Outcome.PASSED:
        _refuse(f"it says passed, and of process {against.process} {against.verdict.outcome}")
    return Answer(verdict=verdict, jobs=jobs)


def _load(stdout: bytes) -> dict[str, Any]:
    if not stdout.strip():
        _refuse("it wrote nothing")
    try:
        said = json.loads(stdout.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        _refuse("its answer is nested too deeply")
    except UnicodeDecodeError:
        _refuse("its answer is not UTF-8")
    except ValueError as error:
        _refuse(f"its answer is not JSON, {error!s:.120}")
    if not isinstance(said, dict):
        _refuse(f"its answer is a {type(said).__name__}, not an object")
    return said


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _refuse_constant(name: str) -> float:
    _refuse(f"{name} is not a JSON number")


def _one(check: UserCheckPlan, said: Mapping[str, Any]) -> Verdict:
    outcome = said.get("outcome")
    if not isinstance(outcome, str) or outcome not in set(Outcome):
        _refuse(f"its outcome is {outcome!r:.60} instead of {', '.join(Outcome)}")
    texts = [said.get(key) for key in ("reason", "evidence")]
    for key, text in zip(("reason", "evidence"), texts, strict=True):
        if text is not None and not isinstance(text, str):
            _refuse(f"its {key} is a {type(text).__name__} instead of a text")
    reason = str(texts[0] or "")
    if outcome != Outcome.PASSED and not _clean(reason):
        reason = f"{check.name} says {outcome} and gives no reason"
    return _verdict(check, Outcome(outcome), reason, str(texts[1] or ""))


def _job(check: UserCheckPlan, item: object) -> JobAnswer:
    if not isinstance(item, dict):
        _refuse("an entry of its 'verdicts' is not an object")
    process, tag = item.get("process"), item.get("tag", "")
    if isinstance(process, bool) or not isinstance(process, int) or not 0 <= process < 2**31:
        _refuse(f"an entry of its 'verdicts' has the process {process!r:.40}")
    if not isinstance(tag, str):
        _refuse(f"the tag of process {process} is not a text")
    return JobAnswer(tag=tag, process=process, verdict=_one(check, item))


def _sum(check: UserCheckPlan, jobs: tuple[JobAnswer, ...]) -> Verdict:
    """Return the verdict on all where a check speaks of single jobs only."""
    for outcome in (Outcome.FAILED, Outcome.UNKNOWN):
        hit = [job for job in jobs if job.verdict.outcome is outcome]
        if hit:
            first = hit[0]
            reason = f"{len(hit)} jobs {outcome}: process {first.process}: {first.verdict.reason}"
            return _verdict(check, outcome, reason, first.verdict.evidence)
    return _verdict(check, Outcome.PASSED, "", "")
