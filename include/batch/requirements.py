"""Which nodes a submission's jobs may run on, and what becomes of a job that a node eats.

One requirement, and two lists in the job's ad, keep jobs off excluded nodes. A job that fails sooner than
prodsys_job ever does (docs/job-contract.md) did not run at all: HTCondor puts it back into the queue, at most
twice, and keeps it off that node for ten minutes (docs/black-holes.md).

Every job carries the requirement, so that `Pool.exclude` can keep it off a node while it waits. jobsub_submit
takes only one requirement: of several `-c` options the last counts
(https://github.com/fermitools/jobsub_lite, lib/get_parser.py), so those of the spec are joined with ours.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.campaign.jobsub_options import changed_by_jobsub

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

EXCLUDED_HOSTS = "ProdsysExcludedHosts"
EXCLUDED_SITES = "ProdsysExcludedSites"
QUICK_S = 5
"""A job that fails sooner did not run prodsys_job: its failures take 6 s at least."""
MOST_COMPLETIONS = 3
APART_S = 600
"""For so long a job that was eaten keeps off the node, unless another takes it before."""
REQUIREMENT = (
    f"stringListIMember(TARGET.Machine, MY.{EXCLUDED_HOSTS}) =!= true"
    f" && stringListIMember(TARGET.GLIDEIN_Site, MY.{EXCLUDED_SITES}) =!= true"
    " && (TARGET.Machine =!= MY.MachineAttrMachine0 || (MY.NumJobCompletions ?: 0) == 0"
    f" || time() - MY.EnteredCurrentStatus > {APART_S})"
)
"""Holds for a job without lists and for a node without a site. No quotes: jobsub_submit takes them out."""
REQUEUE_LINES = (
    "job_machine_attrs = Machine",
    "job_machine_attrs_history_length = 2",
    (
        f"on_exit_remove = ExitCode =?= 0 || NumJobCompletions >= {MOST_COMPLETIONS}"
        f" || time() - JobCurrentStartDate >= {QUICK_S}"
    ),
)
"""For the submit file. Source of on_exit_remove: HTCondor manual, condor_submit."""

_NAMES = ("--append-condor-requirements", "--append_condor_requirements")
_SHORTEST = "--appe"
"""Shorter forms are --apptainer-image too, which jobsub_submit refuses as ambiguous."""
_LETTERS_WITH_VALUE = frozenset("cdeflirtGLN")


def name_list(names: Collection[str]) -> str:
    """Return names of nodes or sites as HTCondor lists them, sorted; ValueError for an impossible one."""
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
            raise ValueError(f"{name!r} is no node or site: letters, digits and . _ - only")
    return ",".join(sorted(set(names)))


def with_requirement(options: Sequence[str]) -> tuple[str, ...]:
    """Return jobsub options with one requirement: those that the options hold, and ours.

    ValueError where a `-c` has no expression.
    """
    rest: list[str] = []
    given: list[str] = []
    words = iter(options)
    for option in words:
        before, value = _requirement(changed_by_jobsub(option))
        if value is None:
            rest.append(option)
            continue
        rest += before
        given.append(value or changed_by_jobsub(next(words, "")))
        _check(option, given[-1])
    joined = " && ".join([*(f"({text.strip()})" for text in given), REQUIREMENT])
    return ("--append_condor_requirements", _kept(joined), *rest)


def _requirement(word: str) -> tuple[list[str], str | None]:
    """Return (flags joined before it, its value) of a `-c` in any spelling, "" where the next word is it.

    The value is None for every other word.
    """
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        mine = name.startswith(_SHORTEST) and any(full.startswith(name) for full in _NAMES)
        return [], (value or " " if equals else "") if mine else None
    if word.startswith("-"):
        for place, letter in enumerate(word[1:], start=1):
            if letter == "c":
                flags = [word[:place]] if place > 1 else []
                return flags, word[place + 1 :].removeprefix("=")
            if letter in _LETTERS_WITH_VALUE:
                break
    return [], None


def _check(option: str, text: str) -> None:
    """Refuse an expression that is missing or would end the line of the submit file."""
    if not text.strip() or text.startswith("-"):
        raise ValueError(f"{option!r} needs a requirements expression")
    if any(ord(char) < 32 or char == "\x7f" for char in text):
        raise ValueError(f"the expression of {option!r} holds a line break or another control character")


def _kept(text: str) -> str:
    """Return what jobsub_submit makes `text` of: it takes out a layer of backslashes and single quotes."""
    return text if changed_by_jobsub(text) == text else re.sub(r"([\\'])", r"\\\1", text)


def exclusion_lines(machines: Iterable[str], sites: Iterable[str], *, separator: str = ",") -> list[str]:
    """Return the lines for the submit file, none for an empty list; ValueError for an impossible name.

    stringListIMember splits at commas and blanks alike (HTCondor manual, ClassAd functions): a blank goes
    where lines themselves are separated by commas.
    """
    lists = ((EXCLUDED_HOSTS, name_list(tuple(machines))), (EXCLUDED_SITES, name_list(tuple(sites))))
    return [f'+{name}="{names.replace(",", separator)}"' for name, names in lists if names]
