"""Check family: what the experiment's own script wrote into its log. Runs only where the spec asks for it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from include.checks.case import failed, passed, unknown
from include.joblogs.formats import read_facts
from include.joblogs.patterns import Pattern
from include.joblogs.scanner import Scanner

if TYPE_CHECKING:
    from include.checks.case import Case
    from include.checks.verdict import Verdict
    from include.joblogs.mu2e_log import Manifest

STATUS, MANIFEST = "status", "manifest"


def judge_status(case: Case) -> Verdict:
    """The log has the line by which the script itself says that all went well."""
    text = str(case.settings(STATUS).get("success", ""))
    if not text:
        return unknown(
            STATUS, "the spec does not say which line it is: checks: {status: {success: TEXT}}", ""
        )
    if case.report is None:
        return unknown(STATUS, "no execution told where its log is", case.logs)
    scan = _scanner(text).scan(case.report.log)
    if scan.hits:
        hit = scan.last[STATUS]
        return passed(STATUS, evidence=f"{scan.path}:{hit.line}: {hit.text}")
    if scan.problem:
        return unknown(STATUS, f"log cannot be read: {scan.problem}", case.report.log)
    last = f":{scan.tail[-1][0]}: {scan.tail[-1][1]}" if scan.tail else ": the log is empty"
    return failed(STATUS, f"status line missing: no {text!r} in the log", f"{scan.path}{last}")


def judge_manifest(case: Case) -> Verdict:
    """The log ends with mu2egrid's manifest, its self-check holds, and it has the files' sha256."""
    if case.report is None:
        return unknown(MANIFEST, "no execution told where its log is", case.logs)
    log = case.report.log
    facts = read_facts(log)
    if facts.problem:
        return unknown(MANIFEST, f"log cannot be read: {facts.problem}", log)
    manifest = facts.mu2e.manifest if facts.mu2e is not None else None
    if manifest is None:
        return failed(MANIFEST, "manifest missing: the log has no '# mu2egrid manifest'", log)
    problem, line = _problem(manifest, case)
    return (
        failed(MANIFEST, problem, f"{log}:{line}") if problem else passed(MANIFEST, evidence=f"{log}:{line}")
    )


def _problem(manifest: Manifest, case: Case) -> tuple[str, int]:
    """Return what is wrong with a manifest, empty if nothing is, and the line of the log that shows it."""
    if manifest.claimed is None:
        return "manifest is cut: it has no self-check", manifest.line
    if not manifest.holds:
        found = f"its self-check is {manifest.claimed[:12]}…, the log gives {manifest.computed or '?':.12}…"
        return f"manifest does not hold: {found}", manifest.line
    named = {file.name: file for file in manifest.files}
    for _, output in case.files():
        told = named.get(output.file)
        if told is None:
            return f"file not in the manifest: {output.file}", manifest.line
        if told.sha256 != output.sha256:
            found = f"sha256 {told.sha256[:12]}…, the job reported {output.sha256[:12]}…"
            return f"manifest differs: {found}", told.line
    return "", manifest.line


@lru_cache(maxsize=16)
def _scanner(text: str) -> Scanner:
    return Scanner([Pattern(name=STATUS, literals=(text,), regex=None)])
