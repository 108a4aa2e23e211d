"""Which options of jobsub_submit a campaign file may not give, and how they are recognised.

jobsub_submit reads its command line with argparse: a long option may be cut short, a value may be attached,
flags of one letter may be joined, and the last of two equal options counts. Before that it removes a layer
of backslashes and pairs of single quotes (https://github.com/fermitools/jobsub_lite, lib/get_parser.py and
`backslash_escape_layer`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.campaign.wording import shown

if TYPE_CHECKING:
    from collections.abc import Iterable


def _own(key: str) -> str:
    return f"is prodsys's own: use the key {key!r}"


_NOTHING = "submits nothing: remove it"
_DAG = "makes a DAG of clusters, which prodsys cannot follow: remove it"
_ELSEWHERE = "submits to another pool, where prodsys does not look for the jobs: remove it"

REFUSED = {
    **dict.fromkeys(("-G", "--group"), _own("group")),
    "--role": _own("role"),
    "-N": _own("subruns"),
    "--memory": _own("memory"),
    "--disk": _own("disk"),
    "--cpu": _own("cpus"),
    "--expected-lifetime": _own("lifetime"),
    **dict.fromkeys(("-e", "--environment"), _own("environment")),
    "-f": _own("files"),
    **dict.fromkeys(("-n", "--no_submit", "--no-submit"), _NOTHING),
    **dict.fromkeys(("-h", "--help", "--version", "--support-email"), _NOTHING),
    **dict.fromkeys(("--maxConcurrent", "--dag"), _DAG),
    **dict.fromkeys(("--dataset", "--dataset_definition", "--dataset-definition"), _DAG),
    "--global-pool": _ELSEWHERE,
}
"""Option → why it is refused, and what to do."""

_DASHES = ("\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2015", "\u2212")
"""What text programs make of a hyphen."""
_LINES = ("-l", "--lines")
_LETTERS_WITH_VALUE = frozenset("cdilrtL")
"""What follows such a letter in the same word is its value, not another letter."""


def changed_by_jobsub(argument: str) -> str:
    """Return what jobsub_submit makes of one argument: one layer of backslashes and quote pairs is gone."""
    unquoted = re.sub(r"(?!\\)'(.*[^\\])'", r"\1", argument)
    return re.sub(r"\\(.)", r"\1", unquoted)


def check_jobsub_options(options: Iterable[str]) -> None:
    """Raise ValueError, naming what to use instead, for options that would change what is submitted."""
    line_follows = False
    for option in options:
        word = changed_by_jobsub(option)
        if line_follows and not word.startswith("-"):
            _check_line(word)
        line_follows = False
        if word.startswith(_DASHES):
            raise ValueError(f"{shown(word)} begins with U+{ord(word[0]):04X}, which is no hyphen: write '-'")
        if word == "--" or word.startswith("file://"):
            raise ValueError(f"{shown(word)} names what the jobs run: use the key 'script'")
        if word.startswith("--"):
            line_follows = _check_long(word)
        elif word.startswith("-"):
            line_follows = _check_letters(word)


def _check_long(word: str) -> bool:
    """Check a long option, maybe cut short; say whether the next word is a line of the submit file."""
    name, equals, value = word.partition("=")
    if " " in name:
        first, _, rest = word.partition(" ")
        raise ValueError(f"{shown(word)} is one word for jobsub_submit: write {shown(f'{first}={rest}')}")
    if name in REFUSED:
        raise ValueError(f"the option {name} {REFUSED[name]}")
    for full, why in REFUSED.items():
        if full.startswith(name):
            raise ValueError(f"the option {shown(name)} is read as {full}, which {why}")
    is_line = "--lines".startswith(name)
    if is_line and equals:
        _check_line(value)
    return is_line and not equals


def _check_letters(word: str) -> bool:
    """Check letters joined in one word, as -Qn; say whether the next word is a line of the submit file."""
    for place, letter in enumerate(word[1:], start=2):
        name, rest = f"-{letter}", word[place:]
        if name in REFUSED:
            inside = "" if word == name else f" in {shown(word)}"
            raise ValueError(f"the option {name}{inside} {REFUSED[name]}")
        if name in _LINES and rest:
            _check_line(rest)
        if letter in _LETTERS_WITH_VALUE:
            return name in _LINES and not rest
    return False


def _check_line(line: str) -> None:
    """Refuse a line of the submit file that names prodsys's attributes or begins another set of jobs."""
    # ClassAd attributes and submit commands are the same in upper and lower case.
    if "prodsys" in line.lower():
        raise ValueError(
            f"the line {shown(line)} names an attribute that begins with Prodsys: prodsys sets those"
        )
    if re.match(r"\s*(max_materialize|max_idle|materialize_max_idle)\s*=", line, re.IGNORECASE):
        raise ValueError(
            f"the line {shown(line)} lets the schedd make jobs one by one, and prodsys counts all of a "
            "cluster from the start: use the key 'max_jobs_in_flight'"
        )
    if re.match(r"\s*=?\s*queue\b", line, re.IGNORECASE):
        raise ValueError(f"the line {shown(line)} submits more jobs: use the key 'subruns'")
