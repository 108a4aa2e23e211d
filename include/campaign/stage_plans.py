"""The stages of a plan: inputs linked, templates filled, defaults applied, merges put last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.campaign.check_plans import HDF5_SUFFIXES, stage_checks, stage_own_checks, stage_settings
from include.campaign.identifiers import MERGE_PREFIX
from include.campaign.job_settings import job_settings, place_of, setting
from include.campaign.output_names import file_template, refuse_same_names, refuse_shared_names
from include.campaign.plan import InputPlan, MergePlan, OutputPlan, StagePlan
from include.campaign.spec import OutputSpec
from include.campaign.stage_order import ancestors, in_order
from include.campaign.template import JOB_VARIABLES
from include.campaign.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.campaign.context import Context
    from include.campaign.plan import UserCheckPlan
    from include.campaign.spec import InputSpec, MergeSpec, StageSpec
    from include.campaign.spec_jobs import CheckSpec
    from include.campaign.yaml_tree import KeyPath

DEFAULT_OUTPUT = "default"
"""Name of a stage's only output."""
MERGE_INPUT = "merge"
"""Name of a merge stage's only input."""

_SENT_BY_PRODSYS = frozenset({"job.json", "prodsys_job.py"})


def plan_stages(context: Context, own_checks: Mapping[str, UserCheckPlan]) -> tuple[StagePlan, ...]:
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
    plans = [_stage(context, name, inputs[name], parents[name], own_checks) for name in ordered]
    names = {(plan.name, output.name): output.file_name for plan in plans for output in plan.outputs}
    merges = [_merge(context, key, merge, names, own_checks) for key, merge in context.spec.merge.items()]
    made = (*plans, *(merge for merge in merges if merge is not None))
    refuse_shared_names(context, made)
    return made


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


def _stage(
    context: Context,
    name: str,
    inputs: tuple[InputPlan, ...],
    parents: tuple[str, ...],
    own_checks: Mapping[str, UserCheckPlan],
) -> StagePlan:
    stage, path = context.spec.stages[name], ("stages", name)
    events = setting(context, stage, "events")
    script = _script(context, stage.script, (*path, "script"))
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
        merge=None,
        **_checks(context, path, stage.checks, outputs, own_checks),
        **job_settings(context, path, stage),
    )


def _arguments(context: Context, path: KeyPath, stage: StageSpec, events: int | None) -> tuple[str, ...]:
    where = place_of(context, path, "arguments")
    filled = []
    for index, template in enumerate(setting(context, stage, "arguments")):
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


def _script(context: Context, name: str, path: KeyPath) -> str:
    """Return the path of a script that is sent along."""
    script = context.script(name, path)
    if script.rpartition("/")[2] in _SENT_BY_PRODSYS:
        context.wrong(
            f"the file name {script.rpartition('/')[2]!r} is taken by prodsys", path, hint="rename the script"
        )
    return script


def _files(context: Context, path: KeyPath, own: StageSpec | MergeSpec, script: str) -> tuple[str, ...]:
    where = place_of(context, path, "files")
    # Jobs find them by base name in one folder.
    taken = dict.fromkeys(_SENT_BY_PRODSYS, "prodsys") | {script.rpartition("/")[2]: "the script"}
    found = []
    for index, template in enumerate(setting(context, own, "files")):
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
    for key, (output, where) in sources.items():
        file_name = file_template(context, output.file, where)
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
                keep=output.keep or setting(context, stage, "keep"),
            )
        )
    return tuple(plans)


def _checks(
    context: Context,
    path: KeyPath,
    written: Mapping[str, CheckSpec],
    outputs: tuple[OutputPlan, ...],
    own_checks: Mapping[str, UserCheckPlan],
) -> dict[str, Any]:
    """Return the plan's fields on what is checked."""
    return {
        "checks": stage_checks(context, path, written, outputs),
        "check_settings": stage_settings(context, written),
        "user_checks": stage_own_checks(context, path, written, own_checks),
    }


def _merge(
    context: Context,
    key: str,
    merge: MergeSpec,
    names: Mapping[tuple[str, str], str],
    own_checks: Mapping[str, UserCheckPlan],
) -> StagePlan | None:
    path: KeyPath = ("merge", key)
    of_stage, of_output = _merged(context, key, merge)
    if of_output is None:
        return None
    tree = merge.tree or _tree_of(context, of_stage, of_output)
    made_of = names.get((of_stage, of_output), "")
    is_hdf5 = made_of.endswith(HDF5_SUFFIXES)
    if merge.method == "hadd" and (tree is None or is_hdf5):
        lacks = "makes HDF5 files" if is_hdf5 else "has no 'tree'"
        context.wrong(
            f"hadd merges ROOT files, and {of_stage!r} {lacks}",
            _of_path(key, merge),
            hint="use method: command" if is_hdf5 else "give the tree, or use method: command",
            at_key=merge.of is None,
        )
    output = OutputPlan(
        name=DEFAULT_OUTPUT,
        file_name=file_template(context, merge.output, (*path, "output")),
        tree=tree,
        events=None,
        keep="forever",
    )
    refuse_same_names(context, output.file_name, made_of, (*path, "output"))
    script = _script(context, merge.script, (*path, "script")) if merge.script is not None else ""
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
        **_checks(context, path, merge.checks, (output,), own_checks),
        merge=MergePlan(
            of_stage=of_stage, of_output=of_output, target_bytes=merge.target_size, method=merge.method
        ),
        **job_settings(context, path, merge),
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
