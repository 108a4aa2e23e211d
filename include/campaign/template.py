"""Templates: texts with {variables}.

Plan-time variables are filled in when the campaign is read; job-time variables are left open for
`prodsys_job`, which knows the run and the subrun. Only plain names with a simple format spec are allowed:
no attributes, no indices, no conversions, nothing that could run code or blow up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING

from include.campaign.wording import did_you_mean, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

PLAN_VARIABLES = ("area", "experiment", "campaign", "owner")
"""Known when the campaign is read, with those of `variables:`."""
JOB_VARIABLES = ("run", "subrun", "seed", "events", "process")
"""Known to the job only; all are whole numbers."""
LAUNCHER_VARIABLES = ("run", "jobs")
"""Known once a submission is made; whole numbers too."""

_FORMAT_SPEC = re.compile(r"[<>^]?0?[0-9]{0,2}(\.[0-9]{1,2})?[dsfegxX]?", re.ASCII)
_FORMATTER = Formatter()


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """A template after plan time."""

    text: str
    """Still a template: job-time variables are open and literal braces are doubled."""
    open: frozenset[str]
    """The job-time variables in it."""

    def closed(self) -> str:
        """Return the text of a template in which nothing is open."""
        return self.text.replace("{{", "{").replace("}}", "}")


def fill(template: str, values: Mapping[str, str | int | float], *, job: Collection[str] = ()) -> Filled:
    """Fill in plan-time `values`, leave the `job` variables open; ValueError says what is wrong."""
    parts: list[str] = []
    left_open: set[str] = set()
    try:
        fields = list(_FORMATTER.parse(template))
    except ValueError as error:
        raise ValueError(
            f"{shown(template)} is not a template: {error}; write {{{{ for a brace itself"
        ) from error
    for literal, name, spec, conversion in fields:
        parts.append(_escaped(literal))
        if name is None:
            continue
        _check_field(name, spec or "", conversion, known=[*values, *job], template=template)
        if name in job:
            left_open.add(name)
            _formatted(0, name, spec or "", template)
            parts.append("{" + name + (f":{spec}" if spec else "") + "}")
        else:
            parts.append(_escaped(_formatted(values[name], name, spec or "", template)))
    return Filled(text="".join(parts), open=frozenset(left_open))


def example(template: str, **values: int) -> str:
    """Return a filled template's text with the job-time variables given, as the job will see it."""
    return template.format(**values)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")


def _check_field(name: str, spec: str, conversion: str | None, *, known: list[str], template: str) -> None:
    if name == "":
        raise ValueError(f"{shown(template)}: {{}} has no variable; write {{{{}}}} for the braces themselves")
    if not name.isidentifier():
        raise ValueError(f"{shown(template)}: {{{name[:40]}}} is not a plain name (no attributes or indices)")
    if name not in known:
        late = name in JOB_VARIABLES and not set(known) & set(JOB_VARIABLES)
        hint = "only the job knows it" if late else did_you_mean(name, known)
        raise ValueError(f"{shown(template)}: there is no variable {{{name[:40]}}} here ({hint})")
    if conversion is not None or not _FORMAT_SPEC.fullmatch(spec):
        bad = f"!{conversion}" if conversion is not None else f":{spec[:40]}"
        raise ValueError(f"{shown(template)}: the format {bad!r} is not allowed; use one such as {{run:06d}}")


def _formatted(value: str | float, name: str, spec: str, template: str) -> str:
    try:
        return format(value, spec)
    except ValueError as error:
        raise ValueError(
            f"{shown(template)}: {{{name}:{spec}}} does not fit the value {shown(value)}"
        ) from error
