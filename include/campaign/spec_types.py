"""What the keys of a campaign file may hold: texts, sizes, times, names; and the base of the models."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    WithJsonSchema,
)

from include.campaign.identifiers import (
    ENTRY_PATTERN,
    NAME_PATTERN,
    REPOSITORY_PATTERN,
    WORD_PATTERN,
    check_entry,
    check_environment_name,
    check_known,
    check_name,
    check_repository,
    check_stage_name,
    check_word,
)
from include.campaign.jobsub_options import check_jobsub_options
from include.campaign.units import SIZE_PATTERN, TIME_PATTERN, parse_size, parse_time
from include.campaign.wording import shown
from include.campaign.yaml_tree import WrittenFloat

_RANDOM = re.compile(r"(^|[\s,])[rRhH]($|[\s,/(])")
"""croniter's own: another time at every reading."""
_PRESETS = ("@once", "@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")


def _text(value: object) -> object:
    # An integer reads the same as text, so `[--events, 100]` needs no quotes; 1.50 or true would not.
    if type(value) is int:
        return str(value)
    if isinstance(value, str):
        if "\0" in value or "\n" in value:
            raise ValueError(f"{shown(value)} must be one line")
        return value
    what = "text that begins with '{'" if isinstance(value, dict) else "it"
    raise ValueError(f"must be text, not {shown(value)}: put {what} in quotes")


def _variable(value: object) -> str | int | float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        # pydantic takes a ValueError for a finding, a TypeError for a bug
        raise ValueError(f"must be text or a number, not {shown(value)}")  # noqa: TRY004
    if isinstance(value, WrittenFloat) and value.text != str(value):
        raise ValueError(f"{value.text} would be written as {value}: put it in quotes")
    if isinstance(value, str) and (len(value) > 200 or any(char in value for char in "{}\n\0")):
        raise ValueError(
            f"{shown(value)}: a variable is one line of at most 200 characters, without {{ and }}"
        )
    return value


def _log_text(value: str) -> str:
    if not 4 <= len(value) <= 200 or not (value.isascii() and value.isprintable()):
        raise ValueError(f"{shown(value)} must be 4 to 200 printable ASCII characters")
    return value


def _number_or_any(value: object) -> int:
    if value == "any":
        return 0
    if type(value) is not int or value < 1:
        raise ValueError(f"must be a whole number of at least 1, or 'any', not {shown(value)}")
    return value


def _jobsub_options(options: tuple[str, ...]) -> tuple[str, ...]:
    check_jobsub_options(options)
    return options


def _schedule(value: str) -> str:
    if value.startswith("@"):
        return check_known(value, _PRESETS, what="schedule preset")
    if len(value.split()) != 5:
        raise ValueError(f"{shown(value)} is neither five cron fields nor one of {', '.join(_PRESETS)}")
    if _RANDOM.search(value):
        raise ValueError(f"{shown(value)}: R and H stand for a random time; write the time itself")
    # Slow to import, and most campaigns have no schedule.
    from croniter import croniter  # type: ignore[import-untyped]

    try:
        croniter(value, ret_type=float).get_next()  # a 31st of February is a valid text, but never comes
    except (ValueError, KeyError, AttributeError, TypeError, ArithmeticError) as error:
        text = " ".join(str(error).split())
        raise ValueError(
            f"{shown(value)} is not a cron expression that ever comes true: {text:.160}"
        ) from error
    return value


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    Field(ge=1),
    WithJsonSchema({"type": "string", "pattern": SIZE_PATTERN, "examples": ["500 MB", "2 GB"]}),
]
Duration = Annotated[
    int,
    BeforeValidator(parse_time),
    Field(ge=1),
    WithJsonSchema({"type": "string", "pattern": TIME_PATTERN, "examples": ["30 min", "8 h"]}),
]
Limit = Annotated[
    int, BeforeValidator(parse_time), WithJsonSchema({"type": "string", "pattern": TIME_PATTERN})
]
Name = Annotated[str, AfterValidator(check_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Word = Annotated[str, AfterValidator(check_word), WithJsonSchema({"type": "string", "pattern": WORD_PATTERN})]
StageName = Annotated[
    str, AfterValidator(check_stage_name), WithJsonSchema({"type": "string", "pattern": WORD_PATTERN})
]
Repository = Annotated[
    str, AfterValidator(check_repository), WithJsonSchema({"type": "string", "pattern": REPOSITORY_PATTERN})
]
Entry = Annotated[
    str, AfterValidator(check_entry), WithJsonSchema({"type": "string", "pattern": ENTRY_PATTERN})
]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer"]})]
Label = Annotated[str, BeforeValidator(_text), Field(min_length=1, max_length=100)]
Variable = Annotated[
    str | int | float, PlainValidator(_variable), WithJsonSchema({"type": ["string", "number"]})
]
NumberOrAny = Annotated[
    int,
    BeforeValidator(_number_or_any),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "any"}]}),
]
LogText = Annotated[
    str, AfterValidator(_log_text), WithJsonSchema({"type": "string", "pattern": "^[ -~]{4,200}$"})
]
EnvironmentName = Annotated[str, AfterValidator(check_environment_name)]
JobsubOptions = Annotated[tuple[Text, ...], AfterValidator(_jobsub_options)]
Schedule = Annotated[str, AfterValidator(_schedule)]
Keep = Literal["forever", "until-merged"]


class SpecModel(BaseModel):
    """Base: unknown keys are refused, nothing can be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)
