"""Rule files → rules that can be applied; docs/triage.md has the format.

A folder of rules is taken as a whole or refused as a whole, with file:line:column of everything wrong.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from include.campaign.reader import joined
from include.campaign.spec_messages import dotted, explain
from include.campaign.wording import did_you_mean, shown
from include.campaign.yaml_tree import REFUSED, KeyPath, Tree, read_tree
from include.errors import SpecError
from include.triage.compiled import CompiledRule, compile_rules
from include.triage.conditions import Condition, Example, Hold, LogText, Rule, RuleFile

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from include.joblogs.scanner import Pattern

INSTALLED = Path(__file__).parent / "rules"
MAX_BYTES = 256 * 1024
"""Largest rule file."""
MAX_FILES = 200
"""Most files in one folder of rules."""
_BY_KEY: dict[str, type[BaseModel]] = {
    "when": Condition, "log": LogText, "also": LogText, "without": LogText, "final": LogText, "hold": Hold,
    "examples": Example, "counter_examples": Example,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Rulebook:
    """All rules, in order of file and place."""

    rules: tuple[CompiledRule, ...]
    patterns: tuple[Pattern, ...]
    """What logs are searched for, each once."""
    fingerprint: str
    """12 hex digits of the files' content: what a diagnosis was made with."""

    def rule(self, name: str) -> CompiledRule:
        """Return a rule; KeyError if there is none of that name."""
        return next(rule for rule in self.rules if rule.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """A rule as its file has it."""

    name: str
    rule: Rule
    place: str
    """FILE:LINE of its name."""


def load_rules(extra: Path | None = None) -> Rulebook:
    """Return the installed rules and those of the folder `extra`.

    A rule there replaces an installed one of the same name. SpecError, or SpecErrors with several, says what
    is wrong where; nothing of the folder is used then.
    """
    contents = _contents(INSTALLED)
    own = _contents(extra) if extra is not None else ()
    if extra is not None and not own:
        raise SpecError("no rule file (*.yaml) is in this folder", file=str(extra), hint="see docs/triage.md")
    return _compiled(contents, own)


def _contents(folder: Path) -> tuple[tuple[str, str], ...]:
    """Return (path, text) of each rule file of a folder."""
    found = []
    try:
        if not folder.is_dir():
            raise SpecError("there is no such folder of triage rules", file=str(folder))
        files = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
        if len(files) > MAX_FILES:
            raise SpecError(f"{len(files)} rule files; at most {MAX_FILES} are read", file=str(folder))
        for path in files:
            if not path.is_file() or path.stat().st_size > MAX_BYTES:
                raise SpecError(f"not a file of at most {MAX_BYTES} bytes", file=str(path))
            found.append((str(path), path.read_text(encoding="utf-8")))
    except OSError as error:
        place = str(error.filename or folder)
        raise SpecError(f"cannot be read: {error.strerror or error}", file=place) from error
    except UnicodeDecodeError as error:
        raise SpecError(f"not UTF-8: {error.reason}", file=str(path)) from error
    return tuple(found)


@cache
def _compiled(installed: tuple[tuple[str, str], ...], own: tuple[tuple[str, str], ...]) -> Rulebook:
    """Return the rules of files, given as (path, text); made once for the same content."""
    errors: list[SpecError] = []
    base = _folder(installed, errors)
    rules = {**base, **_folder(own, errors)}
    # A file with an error gives no rules, so that names of its rules would look unknown.
    for read in () if errors else tuple(rules.values()):
        unknown = [other for other in read.rule.cause_of if other not in rules]
        errors += [_at(read, f"cause_of names {shown(other)}", _nearest(other, rules)) for other in unknown]
    errors += _circles(rules)
    if errors:
        raise joined(errors)
    compiled, patterns = compile_rules({name: (read.rule, read.place) for name, read in rules.items()})
    digest = hashlib.sha256("\0".join(text for _, text in (*installed, *own)).encode())
    return Rulebook(rules=compiled, patterns=patterns, fingerprint=digest.hexdigest()[:12])


def _folder(files: tuple[tuple[str, str], ...], errors: list[SpecError]) -> dict[str, _Read]:
    rules: dict[str, _Read] = {}
    for file, text in files:
        for read in _file(file, text, errors):
            if read.name in rules:
                errors.append(
                    _at(read, f"the rule {shown(read.name)} is given twice", rules[read.name].place)
                )
            rules[read.name] = read
    return rules


def _file(file: str, text: str, errors: list[SpecError]) -> list[_Read]:
    """Return the rules of one file; what is wrong goes into `errors`."""
    tree = read_tree(text, file=file)
    errors += tree.errors
    if tree.value is REFUSED or not isinstance(tree.value, dict):
        if not tree.errors:
            errors.append(SpecError("the file is not a mapping with the key 'rules'", file=file, line=1))
        return []
    for path in tree.nulls:
        place = tree.value_place(path)
        errors.append(
            SpecError(f"{dotted(path)} has no value", file=file, line=place.line, column=place.column)
        )
    try:
        content = RuleFile.model_validate(tree.value)
    except ValidationError as error:
        details = error.errors(include_url=False)[:50]
        errors += [_explained(item, tree, file) for item in details if item["input"] is not REFUSED]
        return []
    return [
        _Read(name=name, rule=rule, place=f"{file}:{tree.key_place(('rules', name)).line}")
        for name, rule in content.rules.items()
    ]


def _explained(detail: ErrorDetails, tree: Tree, file: str) -> SpecError:
    path = _written(detail["loc"], tree.value)
    if detail["type"] != "extra_forbidden":
        at_place: ErrorDetails = {**detail, "loc": path}
        return explain(at_place, tree, file=file)
    place = tree.key_place(path)
    inside = [part for part in path[:-1] if isinstance(part, str)]
    keys = list(_model(inside).model_fields)
    where = f" in {dotted(path[:-1])}" if path[:-1] else ""
    return SpecError(
        f"unknown key {shown(path[-1])}{where}", file=file, line=place.line, column=place.column,
        hint=did_you_mean(str(path[-1]), keys),
    )  # fmt: skip


def _model(inside: list[str]) -> type[BaseModel]:
    """Return what the keys on the way to a place lead to."""
    if not inside:
        return RuleFile
    return _BY_KEY.get(inside[-1], Rule) if len(inside) > 2 else Rule


def _written(path: KeyPath, value: Any) -> KeyPath:
    """Return a place as the file has it: one value stands there for a list of one."""
    found: list[str | int] = []
    for part in path:
        if isinstance(part, int):
            if not isinstance(value, list | tuple):
                continue
            value = value[part] if part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
        found.append(part)
    return tuple(found)


def _at(read: _Read, message: str, hint: str) -> SpecError:
    file, _, line = read.place.rpartition(":")
    return SpecError(f"rule {read.name}: {message}", file=file, line=int(line), hint=hint)


def _nearest(name: str, rules: dict[str, _Read]) -> str:
    hint = did_you_mean(name, rules)
    return hint if hint.startswith("did you mean") else "`prodsys triage rules` lists the rules"


def _circles(rules: dict[str, _Read]) -> list[SpecError]:
    """Return an error for each pair of rules that are each other's cause, over any number of steps."""
    after: dict[str, set[str]] = {name: set(read.rule.cause_of) & set(rules) for name, read in rules.items()}
    found = []
    for name, read in rules.items():
        seen: set[str] = set()
        step = set(after[name])
        while step:
            seen |= step
            step = {later for each in step for later in after[each]} - seen
        if name in seen:
            found.append(_at(read, "by cause_of it is the cause of itself", "take one of the names out"))
    return found
