"""What pydantic found wrong in a spec, in words for the person who wrote it, with the place."""

from __future__ import annotations

import re
from types import UnionType
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin

from pydantic import BaseModel

from include.campaign.spec import CampaignSpec
from include.campaign.wording import LONGEST_SHOWN, did_you_mean, shown
from include.errors import SpecError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from include.campaign.yaml_tree import KeyPath, Tree

_MUST_BE = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "tuple_type": "a list",
}
_BOUNDS = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "too_long": "at most {max_length} long",
    "too_short": "at least {min_length} long",
    "string_too_long": "at most {max_length} characters long",
    "string_too_short": "at least {min_length} characters long",
}


def explain(detail: ErrorDetails, tree: Tree, *, file: str) -> SpecError:
    """Return pydantic's finding as an error at its place in the file."""
    is_key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
    path: KeyPath = detail["loc"][:-1] if is_key else detail["loc"]
    at_key = is_key or detail["type"] in ("extra_forbidden", "missing")
    place = tree.key_place(path) if at_key else tree.value_place(path)
    named = bool(path) and isinstance(path[-1], str)
    if named and detail["type"] == "value_error" and isinstance(detail["input"], dict):
        place = tree.key_place(path)  # a mapping's value begins a line below: point at its name
    message, hint = _words(detail, path)
    return SpecError(message, file=file, line=place.line, column=place.column, hint=hint)


def _words(detail: ErrorDetails, path: KeyPath) -> tuple[str, str]:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    name = dotted(path)
    if kind == "extra_forbidden":
        keys = _keys_at(path[:-1])
        hint = _where_it_belongs(str(path[-1])) or did_you_mean(str(path[-1]), keys)
        return f"unknown key {shown(path[-1])}{_inside(path[:-1])}", hint
    if kind == "missing":
        return f"the key {shown(path[-1])} is missing{_inside(path[:-1])}", ""
    if kind == "literal_error":
        choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        hint = did_you_mean(value, choices) if isinstance(value, str) else f"one of: {', '.join(choices)}"
        hint = f"write {value} without quotes" if value in choices else hint
        return f"{name} cannot be {shown(value)}", hint
    if kind in _MUST_BE:
        return f"{name} must be {_MUST_BE[kind]}, not {shown(value)}", _instead(kind, value)
    if kind in _BOUNDS:
        found = shown(value) if isinstance(value, int | float | str) else context["actual_length"]
        is_percent = context.get("le") == 1 and isinstance(value, int | float) and 1 < value <= 100
        hint = f"a fraction: write {value / 100:g} for {value:g} %" if is_percent else ""
        return f"{name} must be {_BOUNDS[kind].format(**context)}, not {found}", hint
    message = str(context["error"]) if kind == "value_error" else detail["msg"]
    return (f"{name}: {message}" if name else message), ""


def _instead(kind: str, value: object) -> str:
    """Return what to write in place of a value of the wrong kind; empty where that is not clear."""
    if kind == "string_type" and isinstance(value, dict):
        return "a text that begins with '{' needs quotes"
    if not isinstance(value, str):
        return ""
    if kind == "tuple_type":
        return f"write [{value}]" if len(value) <= LONGEST_SHOWN else ""
    if kind == "float_type" and (percent := re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%", value)):
        return f"a fraction: write {float(percent[1]) / 100:g}"
    if kind.startswith("model") and (span := re.fullmatch(r"([0-9]{1,9}) ?(?:-|\.\.) ?([0-9]{1,9})", value)):
        return f"write {{first: {span[1]}, last: {span[2]}}}"
    return ""


def _where_it_belongs(key: str) -> str:
    """Return which part of a spec has the key, where it is one of a spec's."""
    places = [place for place, path in _PLACES.items() if key in _keys_at(path)]
    return f"it belongs to {' or '.join(places)}" if places else ""


_PLACES: dict[str, KeyPath] = {
    "the campaign, not indented": (),
    "'defaults'": ("defaults",),
    "a stage": ("stages", "NAME"),
    "a merge": ("merge", "NAME"),
}


def dotted(path: KeyPath) -> str:
    return "".join(f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")[
        :120
    ]


def _inside(path: KeyPath) -> str:
    return f" in {dotted(path)}" if path else ""


def _keys_at(path: KeyPath) -> list[str]:
    """Return the keys that the model at `path` has."""
    kind: Any = CampaignSpec
    for part in path:
        if _is_model(kind) and isinstance(part, str):
            kind = _bare(kind.model_fields[part].annotation)
        else:  # dict[name, model]
            kind = get_args(kind)[1]
    return list(kind.model_fields) if _is_model(kind) else []


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _bare(annotation: Any) -> Any:
    """Return the annotation without `| None`."""
    if get_origin(annotation) in (Union, UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation
