"""Check family: what the job says of itself.

In order of weight: an execution's own report, then the job's ad. A conflict is said, not silently resolved.
"""

from __future__ import annotations

import posixpath
import signal
from typing import TYPE_CHECKING

from include.campaign.states import JobStatus
from include.checks.case import failed, passed, unknown
from include.checks.logtail import last_line

if TYPE_CHECKING:
    from include.batch.pool import JobAd
    from include.checks.case import Case
    from include.checks.reports import Report
    from include.checks.verdict import Verdict

NAME = "exit"
WRAPPER_CODES = {
    81: "its inputs could not be read",
    82: "the script went well but an output is missing",
    83: "outstage failed",
    84: "job.json is wrong or the process number has no unit",
    85: "the node is not fit for it",
}
"""Source: docs/job-contract.md."""
_STEPS = {
    "node": "the node is not fit for it",
    "inputs": "inputs could not be read",
    "outputs": "the script went well but an output is missing",
    "outstage": "outstage failed",
}


_STEP_OF_CODE = {81: "inputs", 82: "outputs", 83: "outstage", 85: "node"}


def failed_step(code: int | None, error: str) -> str:
    """Return what `exit` says of a job that prodsys_job itself ended with this code; empty for others."""
    step = _STEP_OF_CODE.get(code or 0)
    if step is None:
        return ""
    return f"{_STEPS[step]}: {error:.300}" if error else _STEPS[step]


def judge_exit(case: Case) -> Verdict:
    """The script ended with exit code 0, and the job reported so."""
    if case.report is None:
        return _without_report(case)
    if case.report.good:
        return passed(NAME, _contradiction(case), case.report.file)
    reason = _bad_end(case.report, script=_script(case))
    ad = case.evidence.ad
    if ad is not None and ad.status is JobStatus.HELD:
        reason += f" (the {_teller(case, ad)} says {held_with(ad)})"
    elif ad is not None and ad.status is JobStatus.COMPLETED and ad.exit_code == 0:
        reason += f" (but the {_teller(case, ad)} says exit code 0)"
    # What prodsys_job itself found is in its report; the script's log tells the rest.
    own = case.report.failed_at in _STEPS and case.report.error
    return failed(NAME, reason, f"{case.report.file}: {own:.300}" if own else last_line(case.report.log))


def _script(case: Case) -> str:
    return posixpath.basename(case.stage.script) or "hadd"


def _bad_end(report: Report, *, script: str) -> str:
    if report.failed_at in _STEPS:
        step = _STEPS[report.failed_at]
        return f"{step}: {report.error:.300}" if report.error else step
    if report.exit_signal is not None:
        return f"{_signal(report.exit_signal)} ended {script}"
    if report.exit_code in (None, 0):
        return f"{script} did not end by itself" + (f": {report.error:.300}" if report.error else "")
    return f"exit code {report.exit_code} from {script}"


def _signal(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


def _contradiction(case: Case) -> str:
    """Return what speaks against a good execution; empty where nothing does."""
    report, ad = case.report, case.evidence.ad
    if report is None:
        return ""
    parts = []
    if report.is_manifest:
        parts.append("it left no usable report, but its manifest says that it went well")
    if ad is not None and _ad_differs(ad, recalled=ad.job_id in case.evidence.recalled):
        parts.append(f"the {_teller(case, ad)} of {ad.job_id} says {_ad_state(ad)}")
    others = [other for other in case.evidence.reports if other.execution != report.execution]
    bad = [other for other in others if not other.good]
    if bad:
        parts.append(f"{len(bad)} other executions of it failed, {bad[-1].execution} last")
    if len(others) > len(bad):
        parts.append(f"{len(others) - len(bad)} other executions of it went well too")
    return f"execution {report.execution} went well; " + "; ".join(parts) if parts else ""


def _teller(case: Case, ad: JobAd) -> str:
    return "ledger's row" if ad.job_id in case.evidence.recalled else "ad"


def source(case: Case, ad: JobAd) -> str:
    """Return where a value of an ad is to be found."""
    return f"in the {_teller(case, ad)} of {ad.job_id}"


def _ad_differs(ad: JobAd, *, recalled: bool) -> bool:
    """Whether an ad tells of an end other than a good one."""
    if recalled and not ad.status.ended:
        return False
    if ad.status is JobStatus.COMPLETED:
        return ad.exit_code != 0
    # History lags behind the report: that the ad still says running is no contradiction.
    return ad.status not in (JobStatus.RUNNING, JobStatus.TRANSFERRING_OUTPUT)


def _ad_state(ad: JobAd) -> str:
    if ad.status is JobStatus.HELD:
        return held_with(ad)
    if ad.status is JobStatus.REMOVED:
        return f"removed: {ad.remove_reason or 'no reason given'}"
    if ad.status is JobStatus.COMPLETED:
        if ad.exit_signal is not None:
            return _signal(ad.exit_signal)
        return f"exit code {ad.exit_code}"
    return ad.status.name.lower().replace("_", " ")


def held_with(ad: JobAd) -> str:
    """Return why a job is held, its code first."""
    code = f"{ad.hold_code if ad.hold_code is not None else '?'}/{ad.hold_subcode or 0}"
    return f"held with code {code}: {ad.hold_reason or 'no reason given'}"


def _without_report(case: Case) -> Verdict:
    """Judge by the ad alone."""
    ad = case.evidence.ad
    if ad is None:
        return _without_anything(case)
    match ad.status:
        case JobStatus.HELD:
            return failed(NAME, held_with(ad), f"HoldReasonCode={ad.hold_code} {source(case, ad)}")
        case JobStatus.REMOVED:
            return failed(NAME, _ad_state(ad), f"RemoveReason {source(case, ad)}")
        case JobStatus.COMPLETED:
            return _completed(case, ad)
        case JobStatus.UNKNOWN:
            return unknown(NAME, f"neither queue nor history knows it{_broken(case)}", f"job {ad.job_id}")
        case _:
            return unknown(
                NAME, f"not ended: {_ad_state(ad)}", f"JobStatus={int(ad.status)} in the ad of {ad.job_id}"
            )


def _completed(case: Case, ad: JobAd) -> Verdict:
    attribute = "ExitSignal" if ad.exit_signal is not None else "ExitCode"
    value = ad.exit_signal if ad.exit_signal is not None else ad.exit_code
    evidence = f"{attribute}={value} {source(case, ad)}"
    log = _log(case)
    if ad.exit_signal is not None:
        return failed(NAME, f"{_signal(ad.exit_signal)} ended the job{_broken(case)}", log or evidence)
    if ad.exit_code is None:
        return unknown(
            NAME, f"the ad says completed but gives no exit code{_broken(case)}", f"job {ad.job_id}"
        )
    if ad.exit_code == 0:
        return passed(NAME, f"exit code 0 by the ad, but no execution reported{_broken(case)}", evidence)
    why = f": {WRAPPER_CODES[ad.exit_code]}" if ad.exit_code in WRAPPER_CODES else ""
    return failed(
        NAME, f"exit code {ad.exit_code} by the ad, without a report{why}{_broken(case)}", log or evidence
    )


def _broken(case: Case) -> str:
    """Return why what an execution left does not count, to be added to a reason."""
    if not case.evidence.unreadable:
        return ""
    last = case.evidence.unreadable[-1]
    return f" ({posixpath.basename(last.folder)}: {last.reason})"


def _log(case: Case) -> str:
    """Return the last log line of an execution that has no report; empty where there is none."""
    if not case.evidence.unreadable:
        return ""
    return last_line(f"{case.evidence.unreadable[-1].folder}/job.log")


def _without_anything(case: Case) -> Verdict:
    process = case.evidence.process
    if case.all_ended:
        # The ads of a DAG of one-job clusters do not say which section each was.
        return failed(
            NAME, "all jobs have ended and none reported for it", f"process {process} in {case.logs}"
        )
    reason = f"no ad, no report: nothing known of process {process} since {case.since}"
    if case.evidence.unreadable:
        reason = f"no ad, no usable report of process {process} since {case.since}{_broken(case)}"
    return unknown(NAME, reason, _log(case) or case.logs)
