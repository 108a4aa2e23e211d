"""The stages of a plan: inputs linked, templates filled, defaults applied, merges put last."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from include.campaign.identifiers import MERGE_PREFIX
from include.campaign.plan import InputPlan, MergePlan, OutputPlan, ResourcesPlan, StagePlan
from include.campaign.spec import BASE_CHECKS, InputSpec, JobKeys, MergeSpec, OutputSpec, StageSpec
from include.campaign.stage_order import ancestors, in_order
from include.campaign.template import JOB_VARIABLES, example
from include.campaign.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.campaign.context import Context
    from include.campaign.yaml_tree import KeyPath

DEFAULT_OUTPUT = "default"
"""Name of a stage's only output."""
MERGE_INPUT = "merge"
"""Name of a merge stage's only input."""

JOB_DEFAULTS: dict[str, Any] = {
    "memory": 2000 * 2**20,
    "disk": 10 * 2**30,
    "cpus": 1,
    "lifetime": 8 * 3600,
    "success_threshold": 0.9,
    "hold_limit": 3600,
    "unknown_limit": 1800,
    "jobsub_options": (),
    "arguments": (),
    "files": (),
    "events": None,
    "tree": None,
    "keep": "forever",
}
"""What a key is where neither the stage nor `defaults` says; bytes and seconds."""

_OUTPUT_VARIABLES = ("run", "subrun")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}", re.ASCII)
_SENT_BY_PRODSYS = frozenset({"job.json", "prodsys_job.py"})


def plan_stages(context: Context) -> tuple[StagePlan, ...]:
    """Return the stages in an order that respects parents, merges last; what is wrong goes to the context."""
    stages = context.spec.stages
    inputs = {name: _inputs(context, name, stage) for name, stage in stages.items()}
    parents = {
        name: tuple(dict.fromkeys(link.stage for link in links if link.stage is not None))
        for name, links in inputs.items()
    }
    ordered, circles = in_order(parents)
    for circle in circles:
        _refuse_circle(context, circle)
    _check_keep(context, parents)
    plans = [_stage(context, name, inputs[name], parents[name]) for name in ordered]
    merges = [_merge(context, key, merge) for key, merge in context.spec.merge.items()]
    return (*plans, *(merge for merge in merges if merge is not None))


def _inputs(context: Context, name: str, stage: StageSpec) -> tuple[InputPlan, ...]:
    links = []
    for input_name, source in stage.inputs.items():
        path: KeyPath = ("stages", name, "inputs", input_name)
        if source.files is not None:
            files = context.file_list(source.files, (*path, "files"))
            _require_enough(context, source, files, path)
            link = InputPlan(
                name=input_name,
                stage=None,
                output=None,
                select=source.select,
                files=files,
                per_job=source.per_job,
                reuse=source.reuse,
            )
            links.append(link)
        elif source.stage is not None:
            output = _parent_output(context, source.stage, source.output, (*path, "stage"))
            if output is not None:
                link = InputPlan(
                    name=input_name,
                    stage=source.stage,
                    output=output,
                    select=source.select,
                    files=(),
                    per_job=1,
                )
                links.append(link)
    return tuple(links)


def _require_enough(context: Context, source: InputSpec, files: tuple[str, ...], path: KeyPath) -> None:
    """Note an error if a list that is read once is too short for what a dag_run makes by default."""
    wrong_reuse = context.has(*path, "reuse") and "reuse" not in source.model_fields_set
    if source.reuse or wrong_reuse or not files:  # what is wrong has its error
        return
    slices, subruns = context.spec.slices, context.spec.subruns
    missing = slices * subruns * source.per_job - len(files)
    if missing > 0:
        needed = f"slices ({slices}) x subruns ({subruns}) x per_job ({source.per_job})"
        context.wrong(
            f"the list's {len(files)} files are {missing} too few for {needed}", (*path, "files"),
            hint="add files or ask for less; or, if files may be read again, as pile-up may, set reuse: true",
            at_key=True,
        )  # fmt: skip


def _parent_output(context: Context, stage: str, output: str | None, path: KeyPath) -> str | None:
    """Return which output of another stage is meant; None where there is none such, which is noted."""
    stages = context.spec.stages
    if stage not in stages:
        if stage not in context.written("stages"):
            known = list(stages)
            hint = did_you_mean(stage, known)
            if stage.startswith(MERGE_PREFIX) and stage.removeprefix(MERGE_PREFIX) in context.spec.merge:
                hint = f"{stage} is a merge, and merges come last: use {stage.removeprefix(MERGE_PREFIX)!r}"
            context.wrong(f"there is no stage {stage!r}", path, hint=hint)
        return None
    names = list(stages[stage].outputs) or [DEFAULT_OUTPUT]
    if output is None:
        if len(names) == 1:
            return names[0]
        context.wrong(
            f"stage {stage!r} has several outputs",
            path,
            hint="write one of: " + ", ".join(f"{stage}.{n}" for n in names),
        )
        return None
    if output not in names:
        context.wrong(f"stage {stage!r} has no output {output!r}", path, hint=did_you_mean(output, names))
        return None
    return output


def _refuse_circle(context: Context, circle: list[str]) -> None:
    first, parent = circle[0], circle[1 % len(circle)]
    for name, source in context.spec.stages[first].inputs.items():
        if source.stage == parent:
            context.wrong(
                f"these stages wait for each other: {' → '.join([*circle, first])}",
                ("stages", first, "inputs", name), hint="A → B: A takes files from B",
            )  # fmt: skip
            return


def _check_keep(context: Context, parents: Mapping[str, tuple[str, ...]]) -> None:
    merged: set[str] = set()
    for key, merge in context.spec.merge.items():
        merged |= ancestors(parents, (merge.of or key).partition(".")[0])
    for name, stage in context.spec.stages.items():
        if name in merged:
            continue
        places: list[KeyPath] = [("stages", name, "keep")] if stage.keep == "until-merged" else []
        places += [
            ("stages", name, "outputs", key, "keep")
            for key, output in stage.outputs.items()
            if output.keep == "until-merged"
        ]
        for path in places:
            context.wrong(f"nothing merges {name!r} or what is made from it", path, hint="use keep: forever")


def _stage(context: Context, name: str, inputs: tuple[InputPlan, ...], parents: tuple[str, ...]) -> StagePlan:
    stage, path = context.spec.stages[name], ("stages", name)
    events = _setting(context, stage, "events")
    script = context.script(stage.script, (*path, "script"))
    outputs = _outputs(context, name, stage, events)
    return StagePlan(
        name=name,
        parents=parents,
        script=script,
        arguments=_arguments(context, path, stage, events),
        events=events,
        files=_files(context, path, stage, script),
        inputs=inputs,
        outputs=outputs,
        checks=_checks(context, path, stage, outputs),
        merge=None,
        **_common(context, path, stage),
    )


def _setting(context: Context, own: JobKeys, key: str) -> Any:
    """Return a key's value: the stage's own, else the defaults', else prodsys's."""
    for keys in (own, context.spec.defaults):
        value = getattr(keys, key)
        if value is not None:
            return value
    return JOB_DEFAULTS[key]


def _where(context: Context, path: KeyPath, key: str) -> KeyPath:
    """Return the place of a key that the stage or `defaults` has."""
    own = (*path, key)
    return own if own in context.read.tree.keys else ("defaults", key)


def _common(context: Context, path: KeyPath, own: JobKeys) -> dict[str, Any]:
    """Return the fields that stages and merges share."""
    environment = {}
    for where, keys in ((("defaults",), context.spec.defaults), (path, own)):
        for name, text in keys.environment.items():
            environment[name] = context.closed(text, (*where, "environment", name))
    return {
        "environment": tuple(environment.items()),
        "resources": ResourcesPlan(
            memory_mb=-(-_setting(context, own, "memory") // 2**20),
            disk_kb=-(-_setting(context, own, "disk") // 2**10),
            cpus=_setting(context, own, "cpus"),
            lifetime_s=_setting(context, own, "lifetime"),
        ),
        "success_threshold": _success_threshold(context, own),
        "hold_limit_s": _setting(context, own, "hold_limit"),
        "unknown_limit_s": _setting(context, own, "unknown_limit"),
        "jobsub_options": _setting(context, own, "jobsub_options"),
    }


def _success_threshold(context: Context, own: JobKeys) -> float:
    """Return the fraction that must be accepted: all of a merge's, unless the merge itself says otherwise.

    What a stage lacks is made by others; what a merge lacks was made, and is in no file.
    """
    if isinstance(own, MergeSpec) and own.success_threshold is None:
        return 1.0
    return float(_setting(context, own, "success_threshold"))


def _arguments(context: Context, path: KeyPath, stage: StageSpec, events: int | None) -> tuple[str, ...]:
    where = _where(context, path, "arguments")
    filled = []
    for index, template in enumerate(_setting(context, stage, "arguments")):
        argument = context.fill(template, (*where, index), job=JOB_VARIABLES)
        if (
            "events" in argument.open
            and argument.text
            and events is None
            and not context.has(*path, "events")
        ):
            context.wrong(
                "{events} is used, but the stage has no 'events'", (*where, index), hint="add 'events: 100'"
            )
        filled.append(argument.text)
    return tuple(filled)


def _files(context: Context, path: KeyPath, own: StageSpec | MergeSpec, script: str) -> tuple[str, ...]:
    where = _where(context, path, "files")
    # Jobs find them by base name in one folder.
    taken = dict.fromkeys(_SENT_BY_PRODSYS, "prodsys") | {script.rpartition("/")[2]: "the script"}
    found = []
    for index, template in enumerate(_setting(context, own, "files")):
        file = context.file(template, (*where, index))
        name = file.rpartition("/")[2]
        if name and name in taken:
            context.wrong(
                f"the file name {name!r} is taken by {taken[name]}", (*where, index), hint="rename the file"
            )
        taken[name] = "another file"
        found.append(file)
    return tuple(found)


def _outputs(context: Context, name: str, stage: StageSpec, events: int | None) -> tuple[OutputPlan, ...]:
    path: KeyPath = ("stages", name)
    if stage.output is not None:
        sources = {DEFAULT_OUTPUT: (OutputSpec(file=stage.output), (*path, "output"))}
    else:
        sources = {key: (output, (*path, "outputs", key, "file")) for key, output in stage.outputs.items()}
    plans = []
    taken: dict[str, str] = {}
    for key, (output, where) in sources.items():
        file_name = file_template(context, output.file, where)
        if file_name in taken:
            context.wrong(f"output {taken[file_name]!r} has the same file name", where)
        if file_name:
            taken[file_name] = key
        # `tree: null` says that the file is not a ROOT file, whatever the stage says.
        own_tree = "tree" in output.model_fields_set or "tree" in stage.model_fields_set
        tree = output.tree if "tree" in output.model_fields_set else stage.tree
        plans.append(
            OutputPlan(
                name=key,
                file_name=file_name,
                tree=tree if own_tree else context.spec.defaults.tree,
                # the spec's `events: any` reads as 0
                events=(events if output.events is None else output.events) or None,
                keep=output.keep or _setting(context, stage, "keep"),
            )
        )
    return tuple(plans)


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
    return filled.text


def _checks(
    context: Context, path: KeyPath, own: StageSpec | MergeSpec, outputs: tuple[OutputPlan, ...]
) -> tuple[str, ...]:
    has_tree = any(output.tree is not None for output in outputs)
    if own.checks.get("root") and not has_tree:
        context.wrong("the check 'root' needs an output with a 'tree'", (*path, "checks", "root"))
    switched = {**context.spec.checks, **own.checks}
    return tuple(name for name in BASE_CHECKS if switched.get(name, True) and (name != "root" or has_tree))


def _merge(context: Context, key: str, merge: MergeSpec) -> StagePlan | None:
    path: KeyPath = ("merge", key)
    of_stage, of_output = _merged(context, key, merge)
    if of_output is None:
        return None
    tree = merge.tree or _tree_of(context, of_stage, of_output)
    if merge.method == "hadd" and tree is None:
        context.wrong(
            f"hadd merges ROOT files, and {of_stage!r} has no 'tree'",
            _of_path(key, merge),
            hint="give the tree, or use method: command",
            at_key=merge.of is None,
        )
    output = OutputPlan(
        name=DEFAULT_OUTPUT,
        file_name=file_template(context, merge.output, (*path, "output")),
        tree=tree,
        events=None,
        keep="forever",
    )
    script = context.script(merge.script, (*path, "script")) if merge.script is not None else ""
    return StagePlan(
        name=f"{MERGE_PREFIX}{key}",
        parents=(of_stage,),
        script=script,
        arguments=(),
        files=_files(context, path, merge, script),
        inputs=(
            InputPlan(name=MERGE_INPUT, stage=of_stage, output=of_output, select="all", files=(), per_job=1),
        ),
        outputs=(output,),
        checks=_checks(context, path, merge, (output,)),
        merge=MergePlan(
            of_stage=of_stage, of_output=of_output, target_bytes=merge.target_size, method=merge.method
        ),
        **_common(context, path, merge),
    )


def _of_path(key: str, merge: MergeSpec) -> KeyPath:
    return ("merge", key) if merge.of is None else ("merge", key, "of")


def _merged(context: Context, key: str, merge: MergeSpec) -> tuple[str, str | None]:
    """Return the stage and the output that a merge reads; None where there is none such, which is noted."""
    stage, _, output = (merge.of or key).partition(".")
    if merge.of is None and key not in context.spec.stages and key not in context.written("stages"):
        hint = did_you_mean(key, context.spec.stages) + " or say which with 'of'"
        context.wrong(f"there is no stage {key!r} to merge", ("merge", key), hint=hint, at_key=True)
        return stage, None
    return stage, _parent_output(context, stage, output or None, _of_path(key, merge))


def _tree_of(context: Context, stage: str, output: str) -> str | None:
    spec = context.spec.stages[stage]
    named = spec.outputs.get(output)
    for keys in (named, spec):
        if keys is not None and "tree" in keys.model_fields_set:
            return keys.tree
    return context.spec.defaults.tree
