"""Check family: data integrity, which reads the files."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from include.checks.case import failed, inputs_unknown, not_read, passed
from include.checks.rootfiles import Content, problem_in

if TYPE_CHECKING:
    from include.campaign.plan import OutputPlan
    from include.checks.case import Case
    from include.checks.verdict import Verdict

CHECKSUM, ROOT = "checksum", "root"
_BLOCK = 2**20


def checksums(path: str) -> tuple[str, str]:
    """Return a file's sha256 and adler32, read once in blocks."""
    sha, adler = hashlib.sha256(), 1
    with Path(path).open("rb") as stream:
        while block := stream.read(_BLOCK):
            sha.update(block)
            adler = zlib.adler32(block, adler)
    return sha.hexdigest(), f"{adler:08x}"


def judge_checksum(case: Case) -> Verdict:
    """Each file, read again, has the sha256 and adler32 that the job reported."""
    for _, output in case.files():
        try:
            sha, adler = checksums(output.path)
        except OSError as error:
            return not_read(CHECKSUM, output.path, error)
        if sha != output.sha256:
            reason = f"wrong sha256: {sha[:12]}…, the job reported {output.sha256[:12]}…"
            return failed(CHECKSUM, reason, output.path)
        if adler != output.adler32:
            return failed(CHECKSUM, f"wrong adler32: {adler}, the job reported {output.adler32}", output.path)
    return passed(CHECKSUM)


def judge_root(case: Case) -> Verdict:
    """Each ROOT file opens; its tree has the right number of entries, and only its own run and subruns."""
    if case.stage.is_merge and case.merged() is None:
        return inputs_unknown(ROOT, case)
    for plan, output in case.files():
        if plan.tree is None:
            continue
        wanted = _wanted(case, plan, plan.tree)
        if output.events is not None and wanted.entries not in (None, output.events):
            reason = f"wrong number of events: the job reported {output.events}, expected {wanted.entries}"
            return failed(ROOT, reason, case.report.file if case.report else output.path)
        try:
            problem = problem_in(output.path, wanted)
        except OSError as error:
            return not_read(ROOT, output.path, error)
        if problem:
            return failed(ROOT, problem, output.path)
    return passed(ROOT)


def _wanted(case: Case, plan: OutputPlan, tree: str) -> Content:
    """Return what the file of one output must hold."""
    unit = case.unit
    subruns: frozenset[int] | None = None
    if merged := case.merged() if case.stage.is_merge else None:
        subruns = frozenset(
            subrun
            for record in merged
            if record.events != 0
            for subrun in range(record.first_subrun, record.last_subrun + 1)
        )
    return Content(
        tree=tree,
        entries=case.expected_events(plan),
        run=case.run,
        first_subrun=unit.first_subrun,
        last_subrun=unit.last_subrun,
        complete=subruns,
        ordered=case.stage.is_merge,
    )
