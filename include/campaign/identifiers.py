"""Which names are allowed: they become DAG ids, folder names, task ids and environment variables."""

from __future__ import annotations

import re

from include.campaign.wording import did_you_mean, shown

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,59}$"
"""Experiments and campaigns: together they make the dag_id and a folder."""
WORD_PATTERN = r"^[a-z][a-z0-9_]{0,39}$"
"""Stages, inputs, outputs and variables: they make task ids, folders and environment variables."""
ENVIRONMENT_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
REPOSITORY_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$"
"""CVMFS repositories: they make a folder below /cvmfs."""
NODE_PATTERN = r"^[A-Za-z0-9._-]{1,255}$"
"""Nodes and sites: HTCondor lists them between commas in a job's ad, where a blank or a quote does harm."""
ENTRY_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
"""A function of a Python module."""

MERGE_PREFIX = "merge_"
RESERVED_STAGES = frozenset({"approve", "reserve", "slice", "merge", "cleanup", "report", "archive"})
"""Task ids that every DAG has."""

_NAME = re.compile(NAME_PATTERN.removesuffix("$"))
_WORD = re.compile(WORD_PATTERN.removesuffix("$"))
_ENVIRONMENT = re.compile(ENVIRONMENT_PATTERN.removesuffix("$"))
_REPOSITORY = re.compile(REPOSITORY_PATTERN.removesuffix("$"))
_NODE = re.compile(NODE_PATTERN.removesuffix("$"))
_ENTRY = re.compile(ENTRY_PATTERN.removesuffix("$"))


def check_name(name: str) -> str:
    """Return an experiment's or a campaign's name; ValueError says what is allowed."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"the name {shown(name)} is not allowed: use lower-case letters, digits, '-' and '_', "
            "a letter first, at most 60"
        )
    return name


def check_word(name: str) -> str:
    """Return a stage's, input's, output's or variable's name; ValueError says what is allowed."""
    if not _WORD.fullmatch(name):
        raise ValueError(
            f"the name {shown(name)} is not allowed: use lower-case letters, digits and '_', "
            "a letter first, at most 40"
        )
    return name


def check_stage_name(name: str) -> str:
    """Return a stage's name; ValueError if it is not allowed or taken by prodsys itself."""
    check_word(name)
    if name in RESERVED_STAGES or name.startswith(MERGE_PREFIX):
        raise ValueError(
            f"the stage name {shown(name)} is reserved: prodsys has tasks called "
            f"{', '.join(sorted(RESERVED_STAGES))} and {MERGE_PREFIX}*"
        )
    return name


def check_environment_name(name: str) -> str:
    """Return an environment variable's name; ValueError if a job cannot set it."""
    if not _ENVIRONMENT.fullmatch(name):
        raise ValueError(f"{shown(name)} is not a name for an environment variable")
    if name.startswith("PRODSYS_"):
        raise ValueError(f"{shown(name)} is reserved: prodsys sets the variables that begin with PRODSYS_")
    return name


def check_repository(name: str) -> str:
    """Return a CVMFS repository's name; ValueError says what is allowed."""
    if not _REPOSITORY.fullmatch(name) or ".." in name:
        raise ValueError(
            f"{shown(name)} is not the name of a CVMFS repository: use letters, digits, '.' and '-', "
            "such as mu2e.opensciencegrid.org"
        )
    return name


def is_node(name: str) -> bool:
    """Return whether HTCondor's lists can carry a name of a node or site."""
    return _NODE.fullmatch(name) is not None


def check_node(name: str, *, what: str = "node") -> str:
    """Return the name of a node or site; ValueError says what is allowed."""
    if not is_node(name):
        raise ValueError(
            f"{shown(name)} is not the name of a {what} that can be excluded: give one name of letters, "
            "digits and . _ - only, at most 255; HTCondor's list of excluded ones has no blanks or quotes"
        )
    return name


def check_entry(name: str) -> str:
    """Return the name of a Python function; ValueError says what is allowed."""
    if len(name) > 200 or not _ENTRY.fullmatch(name):
        raise ValueError(f"{shown(name)} is not a Python function: write package.module:function")
    return name


def check_known(name: str, known: tuple[str, ...], *, what: str) -> str:
    """Return `name` if it is among `known`; ValueError names the nearest."""
    if name not in known:
        raise ValueError(f"there is no {what} {shown(name)} ({did_you_mean(name, known)})")
    return name
