"""The log of a mu2egrid job (mu2eprodsys, mu2ejobsub): what ran where, how it ended, and its manifest.

The manifest stands at the log's end: `# mu2egrid manifest`, `# ` and a line of `ls -al` each, the sha256 and
name of each output, and a self-check, which is the sha256 of all bytes of the log before its own line.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from include.joblogs.text import clean
from include.joblogs.wrapper_facts import Fact, Found, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_MANIFEST = 4 << 20
"""Bytes of a manifest that are read."""
_MANIFEST = "# mu2egrid manifest"
_SELFCHECK = re.compile(r"# mu2egrid manifest selfcheck: ([0-9a-f]{64})\b")
_LISTED = re.compile(r"# -\S{9,11} +\d+ +\S+ +\S+ +(\d{1,18}) +\S+ +\S+ +\S+ (.+)")
_SUM = re.compile(r"\\?([0-9a-f]{64}) [ *](.+)")
_COMMAND = re.compile(r"Running the command: (.*?)(?: on  ?[^-]* -- \d+)?$")
_EXIT = re.compile(r"mu2egrid exit status (\d{1,10})(?: on .* -- (\d{1,12}))?")
_ART = re.compile(r"Art has completed and will exit with status (-?\d{1,10})\.")
_ERROR = re.compile(r"Error from .*: exit code (-?\d{1,10})$")
_DISK = re.compile(r"(?:mu2eprodsys|mu2ejobsub|mu2egrid) diskUse = (\d{1,18})\b")
_HOST = re.compile(r"Starting on host (?:Linux )?([\w.-]+)")
_NAMED = re.compile(r"(?:mu2eprodsys|mu2ejobsub) (origFCL|jobname|jobdef|jobindex) = (.+)")


class Outcome(StrEnum):
    """How a mu2egrid job ended, by its own log."""

    OK = "ok"
    """Both OK lines are there, and the manifest's self-check holds."""
    FAILED = "failed"
    """art, the payload or the wrapper ended with a code other than 0."""
    NOT_COMPLETE = "not complete"
    """The log does not tell: it is cut, still being written, or was changed after the manifest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    """One output as the manifest names it."""

    name: str
    sha256: str
    size: int | None
    """Bytes by `ls`; None where `ls` does not list it."""
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What the job says it made."""

    files: tuple[ManifestFile, ...]
    line: int
    """Of its first line in the log."""
    claimed: str | None
    """The self-check in the log; None where it is missing."""
    computed: str | None
    """The same recomputed from the log's bytes."""

    @property
    def holds(self) -> bool:
        """Whether the self-check is there and right."""
        return self.claimed is not None and self.claimed == self.computed

    def why(self) -> str:
        """Return half a sentence on the self-check."""
        if self.holds:
            return f"and the self-check of the manifest of {len(self.files)} files holds"
        if self.claimed is None:
            return f"but the manifest at line {self.line} has no self-check: the log is cut"
        return f"but the self-check of the manifest at line {self.line} does not hold: the log was changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mu2eGridLog:
    """What a mu2egrid log says; what it does not say is None."""

    host: Fact[str] | None
    site: Fact[str] | None
    orig_fcl: Fact[str] | None
    job_name: Fact[str] | None
    """jobname, or the path of the jobdef that holds it."""
    job_index: Fact[int] | None
    command: Fact[str] | None
    art_status: Fact[int] | None
    """Of the last line that tells one."""
    exit_status: Fact[int] | None
    """Of the last `mu2egrid exit status`."""
    ended: float | None
    """Epoch seconds, where that line has them."""
    error: Fact[int] | None
    """Exit code of the first command that the wrapper stopped at."""
    disk_kb: Fact[int] | None
    manifest: Manifest | None

    @property
    def outcome(self) -> Outcome:
        """Return how the job ended."""
        if self._failure is not None:
            return Outcome.FAILED
        both = self.art_status is not None and self.exit_status is not None
        return Outcome.OK if both and self.manifest and self.manifest.holds else Outcome.NOT_COMPLETE

    @property
    def code(self) -> int | None:
        """Return the exit code: other than 0 if it failed, 0 if it is ok, None if the log does not tell."""
        if self._failure is not None:
            return self._failure.value
        return 0 if self.exit_status is not None else None

    @property
    def _failure(self) -> Fact[int] | None:
        told = (self.exit_status, self.error, self.art_status)
        return next((fact for fact in told if fact is not None and fact.value != 0), None)

    def why(self) -> str:
        """Return one sentence on the outcome, with the line that tells it."""
        if self._failure is not None:
            return f"exit code {self._failure.value}, line {self._failure.line}: {self._failure.text}"
        if self.exit_status is None:
            return (
                "the payload never started: there is no 'Running the command'"
                if self.command is None
                else "the log ends without 'mu2egrid exit status': cut, killed or still running"
            )
        if self.art_status is None:
            return f"exit status 0 at line {self.exit_status.line}, but art did not say that it completed"
        told = f"both OK lines are there, the last at line {self.exit_status.line}"
        return f"{told}, {'but there is no manifest' if self.manifest is None else self.manifest.why()}"


class Mu2eCollector:
    """Collects a mu2egrid log's facts."""

    def __init__(self) -> None:
        self._texts: dict[str, Fact[str]] = {}
        self._numbers: dict[str, Fact[int]] = {}
        self._ended: float | None = None
        self._hash = hashlib.sha256()
        self._position = 0
        self._begin: tuple[int, int] | None = None
        self._body: list[bytes] = []
        self._room = 0
        self._check: tuple[int, str] | None = None
        self._fresh_check = False
        self._computed: str | None = None

    @property
    def takes(self) -> Mapping[str, Callable[[Found], None]]:
        """Return the lines that it looks at."""
        return {
            "Starting on host ": self._host,
            "GLIDEIN_Site=": self._site,
            "mu2eprodsys origFCL = ": self._named,
            "mu2ejobsub job": self._named,
            "Running the command: ": self._command,
            "Art has completed and will exit": self._art,
            "mu2egrid exit status ": self._exit,
            "Error from ": self._error,
            " diskUse = ": self._disk,
            _MANIFEST: self._manifest_line,
        }

    def _host(self, found: Found) -> None:
        if match := _HOST.search(found.text):
            self._texts.setdefault("host", found.fact(match[1]))

    def _site(self, found: Found) -> None:
        if found.text.startswith("GLIDEIN_Site=") and (site := found.text[13:].strip("\"' ")):
            self._texts.setdefault("site", found.fact(site[:100]))

    def _named(self, found: Found) -> None:
        if match := _NAMED.match(found.text):
            if match[1] != "jobindex":
                self._texts.setdefault(match[1], found.fact(match[2]))
            elif (index := whole(match[2])) is not None:
                self._numbers.setdefault("jobindex", found.fact(index))

    def _command(self, found: Found) -> None:
        if match := _COMMAND.search(found.text):
            self._texts.setdefault("command", found.fact(match[1]))

    def _art(self, found: Found) -> None:
        if match := _ART.search(found.text):
            self._numbers["art"] = found.fact(int(match[1]))

    def _exit(self, found: Found) -> None:
        if match := _EXIT.search(found.text):
            self._numbers["exit"] = found.fact(int(match[1]))
            self._ended = float(match[2]) if match[2] else None

    def _error(self, found: Found) -> None:
        if match := _ERROR.match(found.text):
            self._numbers.setdefault("error", found.fact(int(match[1])))

    def _disk(self, found: Found) -> None:
        if match := _DISK.match(found.text):
            self._numbers["disk"] = found.fact(int(match[1]))

    def _manifest_line(self, found: Found) -> None:
        if found.text == _MANIFEST:
            self._begin, self._body, self._room = (found.start, found.line), [], MAX_MANIFEST
            self._check = self._computed = None
        elif self._begin and not self._check and (match := _SELFCHECK.match(found.text)):
            self._check = (found.start, match[1])
            self._fresh_check = True

    def passed(self, data: memoryview) -> None:
        """Hash the bytes and keep those of the manifest."""
        if self._fresh_check and self._check is not None:
            until = self._hash.copy()
            until.update(data[: self._check[0] - self._position])
            self._computed = until.hexdigest()
            self._fresh_check = False
        self._hash.update(data)
        if self._begin is not None and self._room > 0:
            wanted = data[max(0, self._begin[0] - self._position) :][: self._room]
            self._body.append(bytes(wanted))
            self._room -= len(wanted)
        self._position += len(data)

    def result(self) -> Mu2eGridLog | None:
        """Return the facts; None if nothing in the log is mu2egrid's."""
        ours = {"origFCL", "jobname", "jobdef"} & self._texts.keys()
        if not (ours or {"jobindex", "exit", "disk"} & self._numbers.keys() or self._begin):
            return None
        text, number = self._texts.get, self._numbers.get
        return Mu2eGridLog(
            host=text("host"),
            site=text("site"),
            orig_fcl=text("origFCL"),
            job_name=text("jobname") or text("jobdef"),
            job_index=number("jobindex"),
            command=text("command"),
            art_status=number("art"),
            exit_status=number("exit"),
            ended=self._ended,
            error=number("error"),
            disk_kb=number("disk"),
            manifest=self._manifest(),
        )

    def _manifest(self) -> Manifest | None:
        if self._begin is None:
            return None
        start, first = self._begin
        body = b"".join(self._body)[: self._check[0] - start if self._check else None]
        sizes: dict[str, int] = {}
        files: dict[str, tuple[str, int]] = {}
        for line, raw in enumerate(body.split(b"\n"), first):
            text = clean(raw)
            if listed := _LISTED.fullmatch(text):
                sizes[listed[2]] = int(listed[1])
            elif summed := _SUM.fullmatch(text):
                files[summed[2]] = (summed[1], line)
        return Manifest(
            files=tuple(
                ManifestFile(name=name, sha256=digest, size=sizes.get(name), line=line)
                for name, (digest, line) in files.items()
            ),
            line=first,
            claimed=self._check[1] if self._check else None,
            computed=self._computed,
        )
