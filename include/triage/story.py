"""Groups in words: for a task's log, and for the body of a required action in the Airflow UI."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.campaign.states import Remedy
from include.triage.categories import UNCLASSIFIED
from include.triage.facts import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.triage.groups import Group

GROUPS_SHOWN = 12
MAX_LINE = 300
"""Characters."""
MAX_MARKDOWN = 8000
"""Bytes of UTF-8."""
PLACES_SHOWN = 3
WILL = {
    Remedy.SAME: "a recovery as it was helps",
    Remedy.MORE_MEMORY: "a recovery with more memory helps",
    Remedy.MORE_DISK: "a recovery with more disk helps",
    Remedy.MORE_TIME: "a recovery with a longer lifetime helps",
    Remedy.OTHER_NODE: "a recovery on other nodes helps",
    Remedy.OTHER_SITE: "a recovery at other sites helps",
    Remedy.NONE: "NO RECOVERY HELPS",
    Remedy.PERSON: "a person must look",
}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$])")


def story(groups: Sequence[Group], *, shown: int = GROUPS_SHOWN) -> list[str]:
    """Return the lines for a task's log, the most harmful group first."""
    if not groups:
        return ["triage: nothing failed"]
    lines = [headline(groups)]
    for place, one in enumerate(groups[:shown], start=1):
        lines += [f"{place}. {title(one)}", *(f"    {line}" for line in _body(one))]
    if len(groups) > shown:
        lines.append(_rest(groups[shown:]))
    return [clean_line(line) for line in lines]


def headline(groups: Sequence[Group]) -> str:
    """Return the sums in one line."""
    jobs, subruns = sum(one.jobs for one in groups), sum(one.subruns for one in groups)
    hopeless = sum(one.subruns for one in groups if one.remedy is Remedy.NONE)
    person = sum(one.subruns for one in groups if one.remedy is Remedy.PERSON)
    parts = [f"triage: {jobs} failed jobs, {subruns} subruns, {_number(len(groups), 'cause')}"]
    if hopeless:
        parts.append(f"{hopeless} subruns that no recovery mends")
    if person:
        parts.append(f"{person} subruns that a person must look at")
    return "; ".join(parts)


def title(one: Group) -> str:
    """Return a group in one line."""
    name = f"{one.category}/{one.rule}" if one.rule else one.category
    count = f"{one.subruns} subruns" + (f" ({one.jobs} jobs)" if one.jobs != one.subruns else "")
    return f"{one.stage}: {count}: {one.cause} [{name}]; {will(one)}"


def will(one: Group) -> str:
    """Say whether a recovery helps; of what no rule explains nobody knows."""
    if one.category == UNCLASSIFIED and one.remedy is Remedy.SAME:
        return "a recovery may help, or not"
    return WILL[one.remedy]


def markdown(groups: Sequence[Group], *, limit: int = MAX_MARKDOWN) -> str:
    """Return the groups as Markdown of at most `limit` bytes; foreign text in it cannot become markup."""
    if not groups:
        return "Nothing failed."
    parts = [f"**{escaped(headline(groups))}**\n"]
    left = limit - len(parts[0].encode()) - 200
    for place, one in enumerate(groups, start=1):
        lines = "".join(f"   - {escaped(clean(line, MAX_LINE))}\n" for line in _body(one))
        part = f"\n{place}. **{escaped(clean(title(one), MAX_LINE))}**\n{lines}"
        if len(part.encode()) > left:
            parts.append(f"\n{escaped(_rest(groups[place - 1 :]))}\n")
            break
        left -= len(part.encode())
        parts.append(part)
    return "".join(parts)


def escaped(text: str) -> str:
    """Return a text that Markdown and HTML show as it is."""
    return _MARKUP.sub(r"\\\1", text)


def clean_line(line: str) -> str:
    """Return a line of a log: its indent kept, the rest cleaned and bounded."""
    indent = len(line) - len(line.lstrip(" "))
    return " " * indent + clean(line, MAX_LINE)


def _body(one: Group) -> list[str]:
    record = one.example.diagnosis
    span = f"subrun {record.first_subrun}"
    if record.last_subrun != record.first_subrun:
        span = f"subruns {record.first_subrun}..{record.last_subrun}"
    where = f" on {record.host}" if record.host else ""
    lines = [
        f"evidence: {record.evidence or 'none'}",
        f"example: job {record.job_id or 'not known'}{where}, run {one.example.run}, {span}",
        f"to do: {one.advice}",
    ]
    lines += [f"unusual: {sentence}" for sentence in one.unusual]
    if len(one.nodes) > 1:
        lines.append(f"on {_number(len(one.nodes), 'node')}, most on {_places(one.nodes)}")
    if len(one.exits) > 1:
        lines.append(f"ended with {_places(one.exits)}")
    lines += [f"shadow rule {name} would have decided {jobs} of them" for name, jobs in one.shadows]
    return lines


def _places(counted: Sequence[tuple[str, int]]) -> str:
    named = [f"{name} ({jobs})" for name, jobs in counted[:PLACES_SHOWN]]
    more = len(counted) - PLACES_SHOWN
    return ", ".join(named) + (f" and {more} more" if more > 0 else "")


def _rest(groups: Sequence[Group]) -> str:
    subruns = sum(one.subruns for one in groups)
    return f"and {_number(len(groups), 'rarer cause')} with {subruns} subruns: `prodsys triage` lists all"


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
