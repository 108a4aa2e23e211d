"""Check family: data integrity, which reads the files."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from include.campaign.check_plans import HDF5_SUFFIXES
from include.checks.case import failed, inputs_unknown, not_read, passed, sum_unknown
from include.checks.content import Content, Found
from include.checks.hdf5files import look_into as look_into_hdf5
from include.checks.rootfiles import look_into as look_into_root
from include.checks.storedsums import stored_adler32

if TYPE_CHECKING:
    from include.campaign.plan import OutputPlan
    from include.checks.case import Case
    from include.checks.verdict import Verdict

CHECKSUM, ROOT, HDF5 = "checksum", "root", "hdf5"
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
    """Each file has the checksum that the job reported: read again, unless its storage server keeps one."""
    kept = []
    for _, output in case.files():
        # One that differs may be out of date: then the file itself decides.
        if stored_adler32(output.path) == output.adler32:
            kept.append(output.path)
            continue
        try:
            sha, adler = checksums(output.path)
        except OSError as error:
            return not_read(CHECKSUM, output.path, error)
        if sha != output.sha256:
            reason = f"wrong sha256: {sha[:12]}…, the job reported {output.sha256[:12]}…"
            return failed(CHECKSUM, reason, output.path)
        if adler != output.adler32:
            return failed(CHECKSUM, f"wrong adler32: {adler}, the job reported {output.adler32}", output.path)
    return passed(CHECKSUM, evidence=f"adler32 kept by the storage of {kept[0]}" if kept else "")


def judge_root(case: Case) -> Verdict:
    """Each ROOT file opens; its tree has the right number of entries, and only its own run and subruns."""
    return _judge_tables(ROOT, case)


def judge_hdf5(case: Case) -> Verdict:
    """Each HDF5 file is whole and opens; its table, where one is named, is right as a ROOT file's tree is."""
    return _judge_tables(HDF5, case)


def _judge_tables(check: str, case: Case) -> Verdict:
    """Look into the files of one format."""
    counted = []
    for plan, output in case.files():
        is_hdf5 = output.file.endswith(HDF5_SUFFIXES)
        if is_hdf5 != (check == HDF5) or (plan.tree is None and not is_hdf5):
            continue
        if plan.tree is not None and case.stage.is_merge and case.merged() is None:
            return inputs_unknown(check, case)
        wanted = None if plan.tree is None else _wanted(case, plan, plan.tree)
        try:
            found = _look(output.path, wanted, is_hdf5=is_hdf5)
        except OSError as error:
            return not_read(check, output.path, error)
        if found.problem:
            return failed(check, found.problem, output.path)
        if output.events is not None and found.entries not in (None, output.events):
            reason = f"wrong number of entries: {found.entries}, the job reported {output.events}"
            return failed(check, reason, output.path)
        if case.stage.is_merge and wanted is not None and wanted.entries is None:
            return sum_unknown(check, case)
        if found.entries is not None:
            counted.append((plan.name, found.entries))
    return replace(passed(check), counted=tuple(counted))


def _look(path: str, wanted: Content | None, *, is_hdf5: bool) -> Found:
    if is_hdf5 or wanted is None:
        return look_into_hdf5(path, wanted)
    return look_into_root(path, wanted)


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
