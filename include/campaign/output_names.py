"""The names of output files: good for storage, and no two alike."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from include.campaign.identifiers import MERGE_PREFIX
from include.campaign.template import example

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from include.campaign.context import Context
    from include.campaign.plan import OutputPlan, StagePlan
    from include.campaign.yaml_tree import KeyPath

_OUTPUT_VARIABLES = ("run", "subrun")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}", re.ASCII)
_NUMBER = r"(?::0?[0-9]*d?)?"
_BETWEEN = r"[^{}]*[^{}0-9][^{}]*"
_TOLD_APART = re.compile(
    rf"[^{{}}]*\{{(run|subrun){_NUMBER}\}}{_BETWEEN}\{{(?!\1)(run|subrun){_NUMBER}\}}[^{{}}]*", re.ASCII
)
"""Two whole numbers with something between them that is no digit: no two pairs give one name."""
_NUMBERS = (1, 2, 11, 12, 111, 112)
"""Runs and subruns that give the same name where nothing keeps the two numbers apart."""


def file_template(context: Context, template: str, path: KeyPath) -> str:
    """Return an output's file name with {run} and {subrun} left open; empty where it is wrong."""
    filled = context.fill(template, path, job=_OUTPUT_VARIABLES)
    if not filled.text:
        return ""
    missing = [f"{{{name}}}" for name in _OUTPUT_VARIABLES if name not in filled.open]
    if missing:
        context.wrong(
            f"the file name {template!r} lacks {' and '.join(missing)}", path,
            hint="two jobs would write the same name; use {run:06d}_{subrun:08d}",
        )  # fmt: skip
        return ""
    name = example(filled.text, run=context.spec.runs.first, subrun=context.spec.first_subrun)
    if not _FILE_NAME.fullmatch(name):
        context.wrong(
            f"{name[:80]!r} is not a good file name", path,
            hint="letters, digits and _ . + = - only, no folder, at most 200",
        )  # fmt: skip
        return ""
    return filled.text if _tells_apart(context, filled.text, path) else ""


def refuse_same_names(context: Context, merged: str, source: str, path: KeyPath) -> None:
    """Note an error if a merged file could be named like one of the files that it is made of."""
    if not merged or not source:
        return
    for run, subrun in _sample(context):
        name = example(merged, run=run, subrun=subrun)
        if name == example(source, run=run, subrun=subrun):
            context.wrong(
                f"the merged file is named like the files that it is made of: {name[:80]}", path,
                hint="give it another name, such as another tier",
            )  # fmt: skip
            return


def refuse_shared_names(context: Context, plans: Iterable[StagePlan]) -> None:
    """Note an error if two outputs of a campaign have one name: a catalogue has it once, a job's folder too.

    Names are compared at the first and last runs and subruns, at all of which a good pair differs.
    """
    spec = context.spec
    ends = {
        (run, subrun)
        for run in (spec.runs.first, spec.runs.last)
        for subrun in (spec.first_subrun, spec.first_subrun + spec.subruns - 1)
    }
    taken: dict[str, tuple[str, str]] = {}
    outputs = [(plan, output) for plan in plans for output in plan.outputs if output.file_name]
    for plan, output in outputs:
        own = (plan.name, output.name)
        # Of the one that a merge is made of, `refuse_same_names` tells.
        made_of = None if plan.merge is None else (plan.merge.of_stage, plan.merge.of_output)
        for name in sorted(example(output.file_name, run=run, subrun=subrun) for run, subrun in ends):
            other = taken.setdefault(name, own)
            if other not in (own, made_of):
                whose = other[0] if other[0] != plan.name else f"output {other[1]!r}"
                context.wrong(
                    f"the file name is that of {whose} too: {name[:80]}", _place(context, plan, output),
                    hint="give it another name, such as another tier",
                )  # fmt: skip
                break


def _place(context: Context, plan: StagePlan, output: OutputPlan) -> KeyPath:
    """Return where the file has an output's name."""
    if plan.merge is not None:
        return ("merge", plan.name.removeprefix(MERGE_PREFIX), "output")
    if context.spec.stages[plan.name].output is not None:
        return ("stages", plan.name, "output")
    return ("stages", plan.name, "outputs", output.name, "file")


def _tells_apart(context: Context, template: str, path: KeyPath) -> bool:
    """Return whether every run and subrun has a name of its own; an error says which two have not."""
    if _TOLD_APART.fullmatch(template):
        return True
    taken: dict[str, tuple[int, int]] = {}
    for run, subrun in _sample(context):
        name = example(template, run=run, subrun=subrun)
        if name in taken:
            other = taken[name]
            context.wrong(
                f"run {other[0]} subrun {other[1]} and run {run} subrun {subrun} have the same file name, "
                f"{name[:80]!r}", path, hint="use {run:06d}_{subrun:08d}",
            )  # fmt: skip
            return False
        taken[name] = (run, subrun)
    return True


def _sample(context: Context) -> Iterator[tuple[int, int]]:
    """Return runs and subruns: small ones that differ in a digit, and neighbours at the campaign's ends."""
    spec = context.spec
    last = spec.first_subrun + spec.subruns - 1
    runs = {*_NUMBERS, spec.runs.first, max(1, spec.runs.last - 1), spec.runs.last}
    subruns = {0, *_NUMBERS, spec.first_subrun, max(0, last - 1), last, 99_998, 99_999}
    return ((run, subrun) for run in sorted(runs) for subrun in sorted(subruns))
