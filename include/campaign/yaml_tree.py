"""YAML text → plain values with the place of every key and value.

Only the parser's events are used: no YAML constructor runs. Plain scalars are read as YAML 1.2 reads them, so
that `no`, `on` and `0100` stay text. Aliases, anchors, tags, duplicate keys and a second document are errors.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import yaml

from include.campaign.wording import shown
from include.errors import SpecError

MAX_DEPTH = 12
"""Levels of nesting; a spec has six."""
MAX_ERRORS = 50
"""Reading stops there: whoever has 50 errors wants to see the first."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C is ten times faster
_INTEGER = re.compile(r"-?[1-9][0-9]{0,17}|0", re.ASCII)
_FLOAT = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,40}([eE][-+]?[0-9]{1,3})?|[eE][-+]?[0-9]{1,3})", re.ASCII)
_WORDS: Final = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SYNTAX_HINTS = {
    "mapping values are not allowed in this context": "quote text that holds ': ', or mend the indentation",
    "found character that cannot start any token": "a text that begins with @, ` or % needs quotes",
    "could not find expected ':'": "a key is followed by ':' and a space",
    "did not find expected key": "check the indentation; a text that begins with '{' or '[' needs quotes",
    "while scanning an alias": "a text that begins with * needs quotes",
    "while scanning an anchor": "a text that begins with & needs quotes",
}

_WRITE_OUT = "write the value out, or use 'defaults'"

KeyPath = tuple[str | int, ...]


class Place(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class WrittenFloat(float):
    """A number with a point or an exponent that knows how it was written: 1.10 is no 1.1 in a file's name."""

    def __init__(self, text: str) -> None:
        self.text = text


class _RefusedValue:
    """Stands for a value that has an error of its own already."""


REFUSED = _RefusedValue()


class _Stopped(Exception):
    """Reading cannot go on, or has found enough."""


@dataclass(slots=True, kw_only=True)
class Tree:
    """A YAML file's content."""

    value: Any = None
    errors: list[SpecError] = field(default_factory=list)
    keys: dict[KeyPath, Place] = field(default_factory=dict)
    values: dict[KeyPath, Place] = field(default_factory=dict)
    nulls: list[KeyPath] = field(default_factory=list)
    """Where nothing, or null, is written."""

    def value_place(self, path: KeyPath) -> Place:
        """Return where the value at `path` is, or the nearest one round it that is written."""
        while path and path not in self.values:
            path = path[:-1]
        return self.values.get(path, Place(1, 1))

    def key_place(self, path: KeyPath) -> Place:
        """Return where the key at `path` is, or the nearest one round it that is written."""
        while path and path not in self.keys:
            path = path[:-1]
        return self.keys.get(path, Place(1, 1))


def read_tree(text: str, *, file: str) -> Tree:
    """Read `text`; every error goes into the tree's `errors`."""
    composer = _Composer(text, file)
    try:
        composer.document()
    except _Stopped:
        composer.tree.value = REFUSED
    except yaml.MarkedYAMLError as error:
        composer.syntax(error)
    except yaml.YAMLError as error:
        composer.tree.errors.append(SpecError(f"not valid YAML: {error}", file=file))
        composer.tree.value = REFUSED
    finally:
        composer.loader.dispose()
    return composer.tree


class _Composer:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.tree = Tree()
        self.loader = _LOADER(text)

    def error(self, message: str, mark: Any, *, hint: str = "") -> None:
        self.tree.errors.append(
            SpecError(message, file=self.file, line=mark.line + 1, column=mark.column + 1, hint=hint)
        )
        if len(self.tree.errors) >= MAX_ERRORS:
            raise _Stopped

    def syntax(self, error: yaml.MarkedYAMLError) -> None:
        problem = str(error.problem or error.context)
        mark, began = error.problem_mark or error.context_mark, error.context_mark
        message = f"not valid YAML: {problem}"
        if error.context:
            message += f" {error.context}"
            if began is not None and mark is not None and began.line != mark.line:
                message += f" that begins at line {began.line + 1}"
        place = (mark.line + 1, mark.column + 1) if mark is not None else (None, None)
        hint = _SYNTAX_HINTS.get(problem, "")
        self.tree.errors.append(SpecError(message, file=self.file, line=place[0], column=place[1], hint=hint))
        self.tree.value = REFUSED

    def document(self) -> None:
        self.loader.get_event()  # the stream's start
        if self.loader.check_event(yaml.StreamEndEvent):
            return
        self.loader.get_event()  # the document's start
        self.tree.value = self.node(())
        self.loader.get_event()  # the document's end
        if not self.loader.check_event(yaml.StreamEndEvent):
            event = self.loader.get_event()
            self.error(
                "a second YAML document begins here",
                event.start_mark,
                hint="one campaign a file: remove the '---'",
            )

    def node(self, path: KeyPath) -> Any:
        event = self.loader.get_event()
        mark = event.start_mark
        self.tree.values[path] = Place(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.AliasEvent):
            self.error(
                f"the alias *{str(event.anchor)[:60]} is not allowed",
                mark,
                hint=_WRITE_OUT,
            )
            return REFUSED
        if event.anchor is not None:
            self.error(
                f"the anchor &{str(event.anchor)[:60]} is not allowed",
                mark,
                hint=_WRITE_OUT,
            )
        if event.tag is not None:
            self.error(f"the tag {_tag(event.tag)} is not allowed", mark, hint="remove it")
        if len(path) > MAX_DEPTH:
            self.error(f"nested more than {MAX_DEPTH} levels deep", mark)
            raise _Stopped
        value = self.content(event, path)
        return value if event.tag is None else REFUSED

    def content(self, event: Any, path: KeyPath) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            value = plain(event.value) if event.implicit[0] else event.value
            if value is None:
                self.tree.nulls.append(path)
            return value
        if isinstance(event, yaml.SequenceStartEvent):
            return self.sequence(path)
        return self.mapping(path)

    def sequence(self, path: KeyPath) -> tuple[Any, ...]:
        items: list[Any] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            items.append(self.node((*path, len(items))))
        self.loader.get_event()
        return tuple(items)

    def mapping(self, path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            key = self.key(path)
            if key is None:
                self.skip()
            else:
                result[key] = self.node((*path, key))
        self.loader.get_event()
        return result

    def key(self, path: KeyPath) -> str | None:
        """Return the next key; None where it is wrong, so that its value has to be skipped."""
        event = self.loader.peek_event()
        mark = event.start_mark
        if not isinstance(event, yaml.ScalarEvent) or event.anchor or event.tag:
            self.skip()
            self.error("a key must be plain text", mark)
            return None
        self.loader.get_event()
        key = plain(event.value) if event.implicit[0] else event.value
        if not isinstance(key, str):
            self.error(
                f"a key must be text, not {shown(event.value)}", mark, hint="put it in quotes if you mean it"
            )
            return None
        here = (*path, key)
        if here in self.tree.keys:
            first = self.tree.keys[here]
            self.error(f"the key {shown(key)} is given twice", mark, hint=f"first at line {first.line}")
            return None
        self.tree.keys[here] = Place(mark.line + 1, mark.column + 1)
        return key

    def skip(self) -> None:
        """Read over the next node."""
        depth = 0
        while True:
            event = self.loader.get_event()
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth == 0:
                return
            if depth > MAX_DEPTH:  # the parser's time grows with the square of the depth
                self.error(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
                raise _Stopped


def plain(text: str) -> Any:
    """Return what an unquoted scalar means."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return WrittenFloat(text)
    return text


def _tag(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")[:60]
