"""Check family: what the job made, seen from outside and without opening files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from include.campaign.states import JobStatus
from include.checks.case import VISIBLE_AFTER_S, failed, not_read, passed, unknown
from include.checks.reported import held_with, source

if TYPE_CHECKING:
    from include.campaign.plan import OutputPlan
    from include.checks.case import Case
    from include.checks.reports import Report, ReportedOutput
    from include.checks.verdict import Verdict

OUTPUTS, SIZE = "outputs", "size"


def judge_outputs(case: Case) -> Verdict:
    """Every output of the spec is on the outstage, once, under its name, for its subruns and events."""
    if case.report is None:
        return _nothing_made(case)
    for plan in case.stage.outputs:
        told = [output for output in case.report.outputs if output.name == plan.name]
        verdict = _one(case, case.report, plan, told)
        if verdict is not None:
            return verdict
    return passed(OUTPUTS)


def _one(case: Case, report: Report, plan: OutputPlan, told: list[ReportedOutput]) -> Verdict | None:
    """Return what is wrong with one output; None where nothing is."""
    if len(told) != 1:
        problem = "output missing" if not told else "output listed twice"
        return failed(OUTPUTS, f"{problem}: {plan.name!r} of execution {report.execution}", report.file)
    output = told[0]
    unit = case.unit
    expected = plan.file_name.format(run=case.run, subrun=unit.first_subrun)
    if output.file != expected:
        return failed(OUTPUTS, f"wrong file name: {output.file}, expected {expected}", report.file)
    covers = (output.run, output.first_subrun, output.last_subrun)
    if covers != (case.run, unit.first_subrun, unit.last_subrun):
        reason = (
            f"wrong subruns: {output.file} covers run {covers[0]} subruns {covers[1]}..{covers[2]}, "
            f"expected run {case.run} subruns {unit.first_subrun}..{unit.last_subrun}"
        )
        return failed(OUTPUTS, reason, report.file)
    try:
        status = os.lstat(output.path)
    except OSError as error:
        return _absent(case, output, error)
    if not stat.S_ISREG(status.st_mode):
        return failed(OUTPUTS, f"not a regular file: {output.path}", output.path)
    return _events(case, report, plan, output)


def _events(case: Case, report: Report, plan: OutputPlan, output: ReportedOutput) -> Verdict | None:
    expected = case.expected_events(plan)
    if output.events is None or expected in (None, output.events):
        return None
    reason = f"wrong number of events: the job reported {output.events}, expected {expected}"
    return failed(OUTPUTS, reason, report.file)


def _absent(case: Case, output: ReportedOutput, error: OSError) -> Verdict:
    if isinstance(error, FileNotFoundError) and not case.listed:
        return unknown(OUTPUTS, "the outstage area is not there: is the storage mounted?", output.path)
    if isinstance(error, FileNotFoundError) and case.lags():
        reason = f"file not on the outstage yet: its job ended less than {VISIBLE_AFTER_S} s ago"
        return unknown(OUTPUTS, reason, output.path)
    return not_read(OUTPUTS, output.path, error)


def _nothing_made(case: Case) -> Verdict:
    """Judge a process of which no execution told anything."""
    ad = case.evidence.ad
    if case.evidence.alive or (ad is None and not case.all_ended):
        return unknown(OUTPUTS, "no execution has published anything yet", case.logs)
    if ad is not None and ad.status is JobStatus.UNKNOWN:
        return unknown(
            OUTPUTS, "no execution has published anything, and nobody knows the job", f"job {ad.job_id}"
        )
    if ad is not None and ad.status is JobStatus.HELD:
        return failed(OUTPUTS, held_with(ad), f"HoldReasonCode={ad.hold_code} {source(case, ad)}")
    if ad is not None and ad.status is JobStatus.COMPLETED and ad.exit_code == 0:
        # Exit code 0 means that its outputs were renamed into place: not to see them disproves nothing yet.
        if not case.listed:
            reason = "the ad says exit code 0, but the outstage area is not there: is the storage mounted?"
            return unknown(OUTPUTS, reason, case.logs)
        if case.lags():
            reason = (
                "the ad says exit code 0, but its folder is not there yet: "
                f"the job ended less than {VISIBLE_AFTER_S} s ago"
            )
            return unknown(OUTPUTS, reason, case.logs)
    return failed(OUTPUTS, "no output: no execution published one", case.logs)


def judge_size(case: Case) -> Verdict:
    """Each file has the size that the job reported, and is not empty."""
    for _, output in case.files():
        try:
            size = os.lstat(output.path).st_size
        except OSError as error:
            return not_read(SIZE, output.path, error)
        if size != output.size:
            return failed(SIZE, f"wrong size: {size} bytes, the job reported {output.size}", output.path)
        if size == 0:
            return failed(SIZE, "empty file: 0 bytes", output.path)
    return passed(SIZE)
