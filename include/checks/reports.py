"""What an execution says of itself: `report.json` and `manifest.json`, verified before they count.

Format: docs/job-contract.md. Nothing in such a file is trusted until `parse` has seen it: a wrong one becomes
an `Unreadable`, which is evidence too.
"""

from __future__ import annotations

import hashlib
import json
import math
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Self

from include.bookkeeping.places import Places

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.bookkeeping.records import Submission, Unit

MAX_BYTES = 10 * 2**20
"""A larger report is not read."""
MAX_TEXT = 4000
"""Longer texts inside a report are cut, in characters."""
MAX_FACT = 200
"""Longer texts among a node's facts are cut, in characters."""
MAX_REPOSITORIES = 64
EXECUTION = re.compile(r"(?P<cluster>\d{1,15})\.(?P<process>\d{1,9})\.(?P<start>\d{1,9})-[0-9a-f]{8}")
_MAX_INT = 2**63
_MAX_TIME = 1e11


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """What an execution found out about its node; None or empty for what it does not say."""

    host: str | None = None
    site: str | None = None
    slot: str | None = None
    """HTCondor's name of the slot, such as slot1_3@glidein_7@wn1."""
    glidein: str | None = None
    cvmfs: tuple[tuple[str, int | None, str | None], ...] = ()
    """(repository, revision, what is wrong with it) by name of the repository."""
    scratch_free_mb: int | None = None
    memory_mb: int | None = None
    cpus: int | None = None
    load: float | None = None
    """Mean number of processes that ran or wanted to, over one minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedOutput:
    """One file as the execution that made it describes it."""

    name: str
    file: str
    path: str
    size: int
    """Bytes."""
    sha256: str
    adler32: str
    run: int
    first_subrun: int
    last_subrun: int
    events: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One execution's own, verified word; made from its manifest where it left no usable report."""

    file: str
    """Where it was read."""
    is_manifest: bool
    execution: str
    cluster: int
    process: int
    """ProcId; 0 in each job where jobsub made a DAG of the cluster."""
    unit: int
    """Index into the submission's units."""
    schedd: str | None
    run: int
    first_subrun: int
    last_subrun: int
    host: str | None
    site: str | None
    started: float
    """Epoch seconds."""
    ended: float
    """Epoch seconds."""
    exit_code: int | None
    exit_signal: int | None
    failed_at: str | None
    """node, inputs, script, outputs or outstage; None where it went well."""
    error: str
    outputs: tuple[ReportedOutput, ...]
    log: str
    """Path of its job.log."""
    node: NodeFacts = NodeFacts()
    """Empty for a manifest."""

    @property
    def good(self) -> bool:
        """Whether the script and everything round it went well."""
        return self.exit_code == 0 and self.exit_signal is None and self.failed_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A folder of an execution that says nothing usable, and why."""

    folder: str
    unit: int | None
    """Index into the submission's units; None where the folder's name does not tell it."""
    reason: str
    storage: bool = False
    """The storage did not give it: it may say anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a report must agree with to belong to a submission."""

    tag: str
    run: int
    units: Sequence[Unit]
    logs: str
    """The submission's log area."""
    outstage: str
    """The submission's outstage area."""
    places: Places
    spans: Mapping[tuple[int, int], int]
    """(first subrun, last subrun) → index of the unit."""

    @classmethod
    def of(cls, submission: Submission, *, logs: str, outstage: str) -> Self:
        """Return what reports of `submission` must agree with."""
        units = submission.units
        return cls(
            tag=submission.tag,
            run=submission.run,
            units=units,
            logs=logs,
            outstage=outstage,
            places=Places(submission),
            spans={(unit.first_subrun, unit.last_subrun): index for index, unit in enumerate(units)},
        )


def parse(data: bytes, *, file: str, expected: Expected, mtime: float, is_manifest: bool = False) -> Report:
    """Return the report in `data`, read from `file`; ValueError says in a sentence what is wrong with it."""
    content = _load(data)
    if content.get("version") != 1:
        _refuse(f"its version is {content.get('version')!r:.40}, not 1")
    if content.get("tag") != expected.tag:
        _refuse(f"it belongs to another submission, {content.get('tag')!r:.200}")
    execution = _text(content, "execution")
    folder = posixpath.basename(posixpath.dirname(file))
    if execution != folder:
        _refuse(f"it names execution {execution!r:.80} but lies in the folder of {folder}")
    if (run := _whole(content, "run")) != expected.run:
        _refuse(f"it tells of run {run}, but the submission is of run {expected.run}")
    cluster, process = _whole(content, "cluster"), _whole(content, "process")
    schedd = _optional_text(content, "schedd")
    unit = _unit(content, expected, schedd=schedd, cluster=cluster, process=process)
    return Report(
        file=file,
        is_manifest=is_manifest,
        execution=execution,
        cluster=cluster,
        process=process,
        unit=unit,
        schedd=schedd,
        run=run,
        first_subrun=expected.units[unit].first_subrun,
        last_subrun=expected.units[unit].last_subrun,
        host=_optional_text(content, "host"),
        site=_optional_text(content, "site"),
        outputs=_outputs(content, area=f"{expected.outstage}/{execution}"),
        log=f"{expected.logs}/{execution}/job.log",
        node=node_facts(content.get("node")),
        **(_published(mtime) if is_manifest else _ending(content)),
    )


def _unit(
    content: dict[str, Any], expected: Expected, *, schedd: str | None, cluster: int, process: int
) -> int:
    """Return the index of the unit that a report tells of: by its subruns, else by its process."""
    if content.get("first_subrun") is None and content.get("failed_at") is not None:
        unit = expected.places.unit_of(schedd=schedd, cluster=cluster, process=process)
        if unit is None:
            _refuse(f"it has no subruns, and process {process} of cluster {cluster} has no unit")
        return unit
    first, last = _whole(content, "first_subrun"), _whole(content, "last_subrun")
    if (first, last) not in expected.spans:
        _refuse(f"it tells of subruns {first}..{last}, which no unit of the submission has")
    return expected.spans[first, last]


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _load(data: bytes) -> dict[str, Any]:
    """Return the JSON object in `data` once its selfcheck holds."""
    try:
        content = json.loads(data.decode("utf-8"), parse_constant=_refuse_constant)
    except RecursionError:
        _refuse("it is nested too deeply")
    except ValueError as error:
        _refuse(f"it is not JSON: {error!s:.120}")
    if not isinstance(content, dict):
        _refuse(f"it holds a {type(content).__name__} instead of an object")
    said = content.pop("selfcheck", None)
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        proven = hashlib.sha256(canonical.encode("utf-8")).hexdigest()
    except UnicodeEncodeError:
        _refuse("it holds text that is not Unicode")
    if said != proven:
        _refuse(f"its selfcheck is {said!r:.20}, but its content gives {proven:.12}: changed since")
    return content


def _refuse_constant(name: str) -> float:
    _refuse(f"{name} is not a JSON number")


def _ending(content: dict[str, Any]) -> dict[str, Any]:
    """Return how a report says that its execution went."""
    failed_at = _optional_text(content, "failed_at")
    if failed_at not in (None, "node", "inputs", "script", "outputs", "outstage"):
        _refuse(f"failed_at is {failed_at!r:.40}")
    return {
        "started": _time(content, "started"),
        "ended": _time(content, "ended"),
        "exit_code": _code(content, "exit_code"),
        "exit_signal": _code(content, "exit_signal"),
        "failed_at": failed_at,
        "error": _optional_text(content, "error") or "",
    }


def node_facts(node: object) -> NodeFacts:
    """Return a report's node facts; what is not as documented is left out, and never refuses the report."""
    if not isinstance(node, dict):
        return NodeFacts()
    cvmfs, load = node.get("cvmfs"), node.get("load_1min")
    return NodeFacts(
        host=_fact_text(node.get("host")),
        site=_fact_text(node.get("site")),
        slot=_fact_text(node.get("slot")),
        glidein=_fact_text(node.get("glidein")),
        cvmfs=_repositories(cvmfs) if isinstance(cvmfs, dict) else (),
        scratch_free_mb=_fact_number(node.get("scratch_free_mb")),
        memory_mb=_fact_number(node.get("memory_mb")),
        cpus=_fact_number(node.get("cpus")),
        load=load if isinstance(load, float) and 0 <= load < _MAX_INT else _fact_number(load),
    )


def _repositories(cvmfs: dict[str, object]) -> tuple[tuple[str, int | None, str | None], ...]:
    """Return name, revision and problem of the first repositories that have a proper name."""
    names = sorted(name for name in cvmfs if _fact_text(name) == name)[:MAX_REPOSITORIES]
    looks = [(name, look) for name in names if isinstance(look := cvmfs[name], dict)]
    return tuple(
        (name, _fact_number(look.get("revision")), _fact_text(look.get("problem"))) for name, look in looks
    )


def _fact_text(value: object) -> str | None:
    return value[:MAX_FACT] if isinstance(value, str) and value and "\x00" not in value else None


def _fact_number(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_INT:
        return None
    return value


def _published(mtime: float) -> dict[str, Any]:
    """Return how it went where a manifest was published: that happens only if all went well."""
    return {
        "started": mtime,
        "ended": mtime,
        "exit_code": 0,
        "exit_signal": None,
        "failed_at": None,
        "error": "",
    }


def _outputs(content: dict[str, Any], *, area: str) -> tuple[ReportedOutput, ...]:
    listed = content.get("outputs")
    if not isinstance(listed, list):
        _refuse("outputs is not a list")
    return tuple(_output(item, area=area) for item in listed)


def _output(item: object, *, area: str) -> ReportedOutput:
    if not isinstance(item, dict):
        _refuse("an entry of outputs is not an object")
    file, path = _text(item, "file"), _text(item, "path")
    if (
        "/" in file
        or file in ("", ".", "..")
        or posixpath.normpath(path) != posixpath.normpath(f"{area}/{file}")
    ):
        # A report must not make prodsys read, accept or later remove a file elsewhere.
        _refuse(f"its output {file!r:.200} has the path {path!r:.300}, which is not in {area}")
    return ReportedOutput(
        name=_text(item, "name"),
        file=file,
        path=path,
        size=_whole(item, "size"),
        sha256=_hex(item, "sha256", 64),
        adler32=_hex(item, "adler32", 8),
        run=_whole(item, "run"),
        first_subrun=_whole(item, "first_subrun"),
        last_subrun=_whole(item, "last_subrun"),
        events=None if item.get("events") is None else _whole(item, "events"),
    )


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    # Postgres refuses NUL in a text.
    if not isinstance(value, str) or not value or "\x00" in value:
        _refuse(f"{key} is {value!r:.40} instead of a text")
    return value[:MAX_TEXT]


def _optional_text(content: dict[str, Any], key: str) -> str | None:
    return None if content.get(key) in (None, "") else _text(content, key)


def _whole(content: dict[str, Any], key: str) -> int:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_INT:
        _refuse(f"{key} is {value!r:.40} instead of a whole number")
    return value


def _code(content: dict[str, Any], key: str) -> int | None:
    value = content.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**31) <= value < 2**31:
        _refuse(f"{key} is {value!r:.40} instead of a code")
    return value


def _time(content: dict[str, Any], key: str) -> float:
    value = content.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(f"{key} is {value!r:.40} instead of epoch seconds")
    if not math.isfinite(value) or not 0 <= value < _MAX_TIME:
        _refuse(f"{key} is {value!r:.40}, which is no time in epoch seconds")
    return float(value)


def _hex(content: dict[str, Any], key: str, digits: int) -> str:
    value = content.get(key)
    if not isinstance(value, str) or not re.fullmatch(rf"[0-9a-f]{{{digits}}}", value):
        _refuse(f"{key} is {value!r:.80} instead of {digits} hex digits")
    return value
