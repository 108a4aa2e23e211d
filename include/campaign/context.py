"""What the resolving of one campaign shares: the spec, the plan-time variables, the errors found so far."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from include.campaign.template import Filled, fill
from include.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Collection

    from include.campaign.reader import ReadSpec
    from include.campaign.spec import CampaignSpec
    from include.campaign.yaml_tree import KeyPath

MAX_LIST_BYTES = 4 * 2**20
"""Largest file list."""
MAX_LIST_FILES = 20_000
"""Longest file list: it becomes part of the plan."""

_SENDABLE = re.compile(r"[A-Za-z0-9_.+=@%-]+", re.ASCII)
"""A file name that jobsub's own shell leaves as it is."""
_CVMFS = "/cvmfs/"
"""Not looked at: the submit node need not mount what worker nodes do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One campaign that is being resolved; errors are collected, so that one run shows them all."""

    read: ReadSpec
    folder: str
    """Absolute folder of the campaign file; scripts and files are relative to it."""
    values: dict[str, str | int | float]
    """Plan-time variables."""
    errors: list[SpecError] = field(default_factory=list)

    @property
    def spec(self) -> CampaignSpec:
        """The spec as read."""
        return self.read.spec

    def wrong(self, message: str, path: KeyPath, *, hint: str = "", at_key: bool = False) -> None:
        """Note an error about the value, or the key, at `path`."""
        self.errors.append(self.read.error(message, path, hint=hint, at_key=at_key))

    def written(self, *path: str) -> Collection[str]:
        """Return the keys that the file has at `path`, those with errors included."""
        value: Any = self.read.tree.value
        for part in path:
            value = value.get(part) if isinstance(value, dict) else None
        return tuple(value) if isinstance(value, dict) else ()

    def has(self, *path: str | int) -> bool:
        """Return whether the file has this key, be it right or wrong."""
        return path in self.read.tree.keys

    def fill(self, template: str, path: KeyPath, *, job: Collection[str] = ()) -> Filled:
        """Fill in the plan-time variables; what is wrong is noted."""
        try:
            return fill(template, self.values, job=job)
        except ValueError as error:
            self.wrong(str(error), path)
            return Filled(text="", open=frozenset(job))

    def closed(self, template: str, path: KeyPath) -> str:
        """Return the text of a template that may use plan-time variables only; empty where it is wrong."""
        return self.fill(template, path).closed()

    def script(self, name: str, path: KeyPath, *, by_shell: bool = False) -> str:
        """Return a script's absolute path; it must be there, executable, and begin like a program.

        `by_shell`: what starts it lets a shell run it where no `#!` says what does.
        """
        found = self.file(name, path, what="script")
        if not found or found.startswith(_CVMFS) or not os.path.isfile(found):  # noqa: PTH113 - see file()
            return found
        if not os.access(found, os.X_OK):
            self.wrong(f"the script {found} is not executable", path, hint=f"chmod +x {name}")
        elif os.access(found, os.R_OK):
            problem, hint = _no_program(found, by_shell=by_shell)
            if problem:
                self.wrong(f"the script {found} {problem}", path, hint=hint)
        return found

    def file(self, name: str, path: KeyPath, *, what: str = "file") -> str:
        """Return a file's absolute path; it must be there. Empty where it is wrong."""
        text = self.closed(name, path)
        if not text:
            return ""
        # os.path: pathlib would take a fifth of the time that a campaign has.
        absolute = os.path.normpath(os.path.join(self.folder, text))  # noqa: PTH118
        if absolute.startswith(_CVMFS):
            return absolute
        if not os.path.isfile(absolute):  # noqa: PTH113
            problem = "is not a file" if os.path.exists(absolute) else "does not exist"  # noqa: PTH110
            self.wrong(f"the {what} {absolute} {problem}", path, hint=f"paths are relative to {self.folder}")
        elif not os.access(absolute, os.R_OK):
            self.wrong(f"the {what} {absolute} cannot be read", path)
        elif not _SENDABLE.fullmatch(absolute.rpartition("/")[2]) or set(absolute) & set("'\\"):
            hint = "letters, digits and _ . + = @ % - in a name; no quotes or backslashes in a folder's"
            self.wrong(f"jobsub cannot send the {what} {absolute}", path, hint=hint)
        return absolute

    def area(self, template: str, path: KeyPath) -> str:
        """Return a storage area's absolute path."""
        text = self.closed(template, path)
        if not text:
            return ""
        if not os.path.isabs(text):  # noqa: PTH117
            self.wrong(f"{text!r} is not an absolute path", path, hint="begin it with {area} or /")
        elif ".." in text.split("/"):
            self.wrong(f"{text!r} goes up by '..', which links can lead astray", path, hint="write it out")
        elif not text.strip("/."):
            self.wrong(f"{text!r} is the root of the file system", path, hint="name a folder of your own")
        return os.path.normpath(text)

    def file_list(self, name: str, path: KeyPath) -> tuple[str, ...]:
        """Return the files that a list names, in order; it must be there, name some, none twice."""
        listed = self.file(name, path, what="file list")
        if not listed or not os.path.isfile(listed):  # noqa: PTH113
            return ()
        try:
            entries = _entries(listed)
        except SpecError as error:
            self.errors.append(error)
            return ()
        if not entries:
            self.wrong(f"the file list {listed} names no file", path)
        return entries


def _no_program(script: str, *, by_shell: bool) -> tuple[str, str]:
    """Return why a script could not be started, by how it begins, and what to do; empty where it could."""
    try:
        with open(script, "rb") as file:  # noqa: PTH123 - see Context.file
            head = file.read(256)
    except OSError as error:
        return f"cannot be read: {error.strerror}", ""
    problem = hint = ""
    if head.startswith(b"\x7fELF"):
        pass
    elif not head:
        problem = "is empty"
    elif b"\0" in head and not head.startswith(b"#!"):  # a zipped Python program has both
        problem = "is neither a script nor a program of Linux"
    elif not by_shell and not head.startswith(b"#!"):
        problem, hint = "does not begin with '#!'", "its first line says what runs it, such as #!/bin/bash"
    elif head.split(b"\n", 1)[0].endswith(b"\r"):
        problem = "has lines that end with CRLF"
        hint = "take them out: sed -i 's/\\r$//' FILE; no program is called 'bash\\r'"
    return problem, hint


def _entries(listed: str) -> tuple[str, ...]:
    try:
        with open(listed, "rb") as stream:  # noqa: PTH123
            content = stream.read(MAX_LIST_BYTES + 1)
        if len(content) > MAX_LIST_BYTES:
            raise SpecError(f"a file list has at most {MAX_LIST_BYTES} bytes", file=listed)
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise SpecError("a file list must be UTF-8", file=listed) from error
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror}", file=listed) from error
    entries: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        if not entry.startswith("/") and "://" not in entry:
            raise SpecError(
                f"{entry[:80]!r} is neither an absolute path nor a URL", file=listed, line=number, column=1
            )
        if entry in entries:
            raise SpecError(
                f"{entry[:200]!r} is there twice, first on line {entries[entry]}",
                file=listed, line=number, column=1, hint="remove one",
            )  # fmt: skip
        entries[entry] = number
    if len(entries) > MAX_LIST_FILES:
        raise SpecError(f"{len(entries)} files; a list names at most {MAX_LIST_FILES}", file=listed)
    return tuple(entries)
