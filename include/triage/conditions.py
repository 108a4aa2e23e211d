"""What a rule file may hold: the models behind its keys."""

from __future__ import annotations

import re
import string
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from include.campaign.states import HoldAction, Remedy
from include.campaign.units import parse_time
from include.campaign.wording import shown
from include.joblogs.patterns import MAX_TEXT, MIN_TEXT
from include.joblogs.regex_safety import explodes
from include.triage.categories import Category, Event, Source

MAX_REGEX = 400
"""Characters; a longer one is a sign that it should be several rules."""
BUILT_IN = frozenset(
    {
        "exit",
        "signal",
        "hold",
        "errno",
        "host",
        "site",
        "job",
        "memory_mb",
        "requested_mb",
        "wall",
        "lifetime",
    }
    | {"reason", "verdict"}
)
"""What a cause may name besides the named groups of its regexes."""
NAME = r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$"


def _several(value: object) -> object:
    """Take one value for a list of one."""
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _regex(value: object) -> str:
    if not isinstance(value, str):
        # pydantic takes a ValueError for a finding, a TypeError for a bug
        raise ValueError(f"{shown(value)} is no text: a regular expression is wanted")  # noqa: TRY004
    if len(value) > MAX_REGEX:
        raise ValueError(
            f"the regular expression has {len(value)} characters, at most {MAX_REGEX} are allowed"
        )
    try:
        if re.compile(value, re.ASCII).match(""):
            raise ValueError(f"the regular expression {value!r} matches nothing at all, so it matches always")
        _ends(value, re.ASCII)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{value!r} is no regular expression: {error}") from error
    return value


def _ends(regex: str, flags: int) -> None:
    """Refuse a regular expression that may search for ever."""
    if explodes(regex, flags):
        raise ValueError(
            f"the regular expression {regex!r} may search for ever: it repeats what can match the same text "
            "in two ways; put something fixed between, or write ++ or *+ for the outer repeat"
        )


def _plain(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError(f"{shown(value)} has other characters than printable ASCII: use a part without them")
    return value


def _codes(value: object) -> object:
    """Return (first, last) for 12 and for `12..15`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value, value)
    match = re.fullmatch(r"(-?\d{1,9})\.\.(-?\d{1,9})", value) if isinstance(value, str) else None
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"{value!r:.40} is no code and no range of codes such as 129..140")
    return (int(match[1]), int(match[2]))


def _hold(value: object) -> object:
    """Return (code, subcode or None) for 34 and for `34/102`."""
    match = re.fullmatch(r"(\d{1,6})(?:/(-?\d{1,6}))?", str(value)) if isinstance(value, int | str) else None
    if match is None:
        raise ValueError(f"{value!r:.40} is no hold code: write 34, or '34/102' with its subcode")
    return (int(match[1]), None if match[2] is None else int(match[2]))


Regex = Annotated[str, Field(min_length=1), BeforeValidator(_regex)]
Codes = Annotated[tuple[Annotated[tuple[int, int], BeforeValidator(_codes)], ...], BeforeValidator(_several)]
Holds = Annotated[
    tuple[Annotated[tuple[int, int | None], BeforeValidator(_hold)], ...], BeforeValidator(_several)
]
Text = Annotated[str, Field(min_length=MIN_TEXT, max_length=MAX_TEXT), AfterValidator(_plain)]
Texts = Annotated[tuple[Text, ...], Field(min_length=1), BeforeValidator(_several)]


class RuleModel(BaseModel):
    """Base: unknown keys are refused, nothing can be changed afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LogText(RuleModel):
    """A line of a log: it holds one of the texts and, where given, matches the regular expression."""

    text: Texts
    regex: Regex | None = None
    ignore_case: bool = False

    @property
    def expression(self) -> str:
        """What the line must match."""
        return self.regex or "|".join(re.escape(text) for text in self.text)

    @model_validator(mode="after")
    def _ends_without_case(self) -> Self:
        if self.regex and self.ignore_case:
            _ends(self.regex, re.IGNORECASE)
        return self


def _log_texts(value: object) -> object:
    """Take a bare text for a line that holds it."""
    items = value if isinstance(value, list | tuple) else [value]
    return tuple({"text": item} if isinstance(item, str) else item for item in items)


LogTexts = Annotated[tuple[LogText, ...], BeforeValidator(_log_texts)]


class Condition(RuleModel):
    """One alternative of a rule: everything given must hold."""

    source: Annotated[tuple[Source, ...], BeforeValidator(_several)] = ()
    exit: Codes = ()
    signal: Codes = ()
    hold: Holds = ()
    status: Annotated[tuple[Literal["held", "removed", "completed"], ...], BeforeValidator(_several)] = ()
    reason: Regex | None = None
    """On the hold or remove reason."""
    check: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    verdict: Regex | None = None
    """On the verdict's reason."""
    log: LogTexts = ()
    """Any of these lines; the first is the evidence."""
    also: LogTexts = ()
    """Any of these is in the log too, before or after."""
    without: LogTexts = ()
    """None of these is in the log."""
    final: LogTexts = ()
    """The evidence is not before the last of these, and close to the log's end: with it the program ended."""
    event: Annotated[tuple[Event, ...], BeforeValidator(_several)] = ()
    memory_used: Annotated[float | None, Field(gt=0, le=10)] = None
    """At least this share of the memory asked for was used."""
    time_used: Annotated[float | None, Field(gt=0, le=10)] = None
    """At least this share of the lifetime asked for was used."""

    @property
    def given(self) -> int:
        """How many keys are given: the more, the more specific."""
        return len(self.model_fields_set)

    @property
    def groups(self) -> set[str]:
        """Names of the groups that its regular expressions have."""
        found = [self.reason, self.verdict, *(text.regex for text in self.log)]
        return {name for regex in found if regex for name in re.compile(regex).groupindex}

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        decisive = {"exit", "signal", "hold", "status", "reason", "verdict", "check", "log", "event"}
        if not any(getattr(self, name) for name in decisive):
            raise ValueError(f"an alternative needs at least one of {', '.join(sorted(decisive))}")
        return self


class Hold(RuleModel):
    """What to do about a job that is held for the rule's cause."""

    action: HoldAction
    pause: Annotated[int, BeforeValidator(parse_time)] = 0
    """Seconds."""


class Example(RuleModel):
    """A failure as it could be, and what must be said of it."""

    log: str | None = None
    exit: int | None = None
    signal: int | None = None
    hold: str | None = None
    reason: str = ""
    status: Literal["held", "removed", "completed"] = "completed"
    check: str = "exit"
    verdict: str = ""
    reported: bool = True
    """Whether the job left a report; a job that was held or removed leaves none."""
    failed_at: Literal["inputs", "script", "outputs", "outstage", "node"] = "script"
    memory_mb: int | None = None
    requested_mb: int | None = None
    wall: Annotated[int | None, BeforeValidator(parse_time)] = None
    lifetime: Annotated[int | None, BeforeValidator(parse_time)] = None
    events: Annotated[tuple[Event, ...], BeforeValidator(_several)] = ()
    cause: str | None = None
    """Expected, whole."""
    evidence: str | None = None
    """Expected, a part of it."""
    decides: str | None = None
    """Of a counter-example: the rule that decides instead, `unclassified` for none."""


def _alternatives(value: object) -> object:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


class Rule(RuleModel):
    """One rule."""

    category: Category
    rank: Literal["code", "symptom", "root", "certain"]
    when: Annotated[tuple[Condition, ...], BeforeValidator(_alternatives), Field(min_length=1)]
    cause: Annotated[str, Field(min_length=10, max_length=300)]
    advice: Annotated[str, Field(min_length=10, max_length=400)]
    remedy: Remedy
    hold: Hold = Hold(action=HoldAction.PERSON)
    cause_of: Annotated[tuple[str, ...], BeforeValidator(_several)] = ()
    """Rules whose evidence follows from this one's, wherever in the log it is."""
    survivable: bool = False
    """Programs go on after such a line: it counts as a symptom where other evidence lies far behind it."""
    shadow: bool = False
    examples: Annotated[tuple[Example, ...], BeforeValidator(_several), Field(min_length=1)]
    counter_examples: Annotated[tuple[Example, ...], BeforeValidator(_several)] = ()

    @model_validator(mode="after")
    def _fields_exist(self) -> Self:
        for condition in self.when:
            unknown = fields(self.cause) - BUILT_IN - condition.groups
            if unknown:
                known = ", ".join(sorted(BUILT_IN | condition.groups))
                raise ValueError(f"cause names {{{min(unknown)}}}, which not every alternative has: {known}")
        if Category.UNCLASSIFIED is self.category:
            raise ValueError("category unclassified is for what no rule fits")
        return self


class RuleFile(RuleModel):
    """A file of rules."""

    rules: Annotated[dict[Annotated[str, Field(pattern=NAME, max_length=60)], Rule], Field(min_length=1)]


def fields(template: str) -> set[str]:
    """Return the names that a template has in braces; ValueError where the braces are wrong."""
    try:
        parsed: list[tuple[Any, ...]] = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"{template!r}: {error}; write {{{{ for a brace") from error
    if any(spec or conversion for _, name, spec, conversion in parsed if name is not None):
        raise ValueError(f"{template!r}: only plain {{name}} is filled in")
    return {name for _, name, _, _ in parsed if name is not None}
