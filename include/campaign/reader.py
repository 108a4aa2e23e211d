"""YAML file → spec, with file:line:column for every error; all errors of a file are found in one go."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from include.campaign.spec import SPEC_KEYS_THAT_MAY_BE_NULL, CampaignSpec
from include.campaign.spec_messages import dotted, explain
from include.campaign.yaml_tree import MAX_ERRORS, REFUSED, KeyPath, Place, Tree, read_tree
from include.errors import SpecError, SpecErrors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from pydantic_core import ErrorDetails

MAX_BYTES = 256 * 1024
"""Largest campaign file; looked at before anything is read."""

_UNPRINTABLE = re.compile(
    "[^\\t\\n\\r\\x20-\\x7e\\x85\\xa0-\\ud7ff\\ue000-\\ufefe\\uff00-\\ufffd\\U00010000-\\U0010ffff]"
)
"""What a YAML file may not hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSpec:
    """A spec, and where in its file each key and value is."""

    spec: CampaignSpec
    path: Path
    sha256: str
    """Of the file's bytes."""
    tree: Tree

    def error(self, message: str, path: KeyPath, *, hint: str = "", at_key: bool = False) -> SpecError:
        """Return an error about the value, or the key, at `path`."""
        place = self.tree.key_place(path) if at_key else self.tree.value_place(path)
        return SpecError(message, file=str(self.path), line=place.line, column=place.column, hint=hint)


def read_spec(path: Path) -> ReadSpec:
    """Read a campaign file; SpecError, or SpecErrors with several, says what is wrong where."""
    read, errors = read_leniently(path)
    if errors or read is None:
        raise joined(errors)
    return read


def read_leniently(path: Path) -> tuple[ReadSpec | None, list[SpecError]]:
    """Read a campaign file; return its errors, and the spec without its wrong keys, if that still makes one.

    With what is left the resolver can find further errors, so that one run shows them all.
    """
    try:
        content = _content(path)
        text = _decode(content, file=str(path))
    except SpecError as error:
        return None, [error]
    errors = _tabs(text, file=str(path))
    if errors:
        return None, errors
    tree = read_tree(text, file=str(path))
    errors = tree.errors
    if tree.value is REFUSED:
        return None, errors
    if not isinstance(tree.value, dict):
        what = "the file is empty" if tree.value is None else "the file is not a mapping of keys to values"
        return None, [*errors, SpecError(what, file=str(path), line=1, column=1, hint="see docs/spec.md")]
    spec, more = _validate(tree, file=str(path))
    errors += more
    if spec is None:
        return None, errors
    digest = hashlib.sha256(content).hexdigest()
    return ReadSpec(spec=spec, path=path, sha256=digest, tree=tree), errors


def joined(errors: Iterable[SpecError]) -> SpecError:
    """Return one error for all, in the order of the file."""
    unique = {str(error): error for error in errors}
    ordered = sorted(unique.values(), key=lambda error: (error.line or 0, error.column or 0))
    return ordered[0] if len(ordered) == 1 else SpecErrors(tuple(ordered[:MAX_ERRORS]))


def _content(path: Path) -> bytes:
    try:
        # O_NONBLOCK: opening a pipe must not wait for somebody to write.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise SpecError("not a file", file=str(path))
            if status.st_size > MAX_BYTES:
                raise SpecError(
                    f"the file has {status.st_size} bytes; a campaign file has at most {MAX_BYTES}",
                    file=str(path),
                    hint="put long lists into a file list of their own",
                )
            return stream.read(MAX_BYTES)
    except OSError as error:
        raise SpecError(f"cannot be read: {error.strerror or error}", file=str(path)) from error
    except ValueError as error:  # a NUL in the path
        raise SpecError(f"cannot be read: {error}", file=str(path)) from error


def _decode(content: bytes, *, file: str) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        place = _place_in(content[: error.start].decode("utf-8", errors="replace"))
        byte = content[error.start]
        raise SpecError(
            f"not UTF-8: byte 0x{byte:02x}",
            file=file,
            line=place.line,
            column=place.column,
            hint="save it as UTF-8",
        ) from error
    wrong = _UNPRINTABLE.search(text)
    if wrong:
        place = _place_in(text[: wrong.start()])
        code = ord(wrong.group())
        raise SpecError(
            f"the control character U+{code:04X}", file=file, line=place.line, column=place.column
        )
    return text


def _place_in(before: str) -> Place:
    return Place(before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _tabs(text: str, *, file: str) -> list[SpecError]:
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        column = line.find("\t")
        if column >= 0:
            found.append(SpecError("a tab", file=file, line=number, column=column + 1, hint="use spaces"))
        if len(found) >= MAX_ERRORS:
            break
    return found


def _validate(tree: Tree, *, file: str) -> tuple[CampaignSpec | None, list[SpecError]]:
    """Return the spec, without what is wrong in it if need be and possible, and the errors."""
    details: list[ErrorDetails] = []
    try:
        spec = CampaignSpec.model_validate(tree.value)
    except ValidationError as error:
        details = error.errors(include_url=False)[:MAX_ERRORS]
    else:
        return spec, _nulls(tree, (), file=file)
    unknown = {item["loc"] for item in details if item["type"] == "extra_forbidden"}
    wrong = [item["loc"] for item in details if item["loc"] in unknown or item["input"] is not None]
    nulls = _nulls(tree, wrong, file=file)
    # A refused value and one that is not there have an error already.
    new = [item for item in details if item["loc"] in unknown or item["input"] not in (None, REFUSED)]
    rest: Any = tree.value
    for item in details:
        rest = _without(rest, tuple(part for part in item["loc"] if part != "[key]"))
    errors = nulls + [explain(item, tree, file=file) for item in new]
    try:
        return CampaignSpec.model_validate(rest), errors
    except ValidationError:
        return None, errors


def _nulls(tree: Tree, wrong: Collection[KeyPath], *, file: str) -> list[SpecError]:
    """Return an error for each key without a value, unless it is within something `wrong` already."""
    found = []
    for path in tree.nulls[:MAX_ERRORS]:
        within = any(path[: len(outer)] == outer for outer in wrong)
        if path[-1] not in SPEC_KEYS_THAT_MAY_BE_NULL and not within:
            place = tree.value_place(path)
            message = f"{dotted(path)} has no value"
            hint = "give it one, or remove the key"
            found.append(SpecError(message, file=file, line=place.line, column=place.column, hint=hint))
    return found


def _without(value: Any, path: KeyPath) -> Any:
    """Return a copy of a tree without what is at `path`."""
    if not path or not isinstance(value, dict) or path[0] not in value:
        return value
    head, *tail = path
    if not tail or not isinstance(value[head], dict):
        return {key: item for key, item in value.items() if key != head}
    return {**value, head: _without(value[head], tuple(tail))}
