"""What a stage's jobs ask for: the stage's own keys, else the defaults', else prodsys's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from include.campaign.plan import LauncherPlan, NodePlan, RecoveryPlan, ResourcesPlan
from include.campaign.spec import MergeSpec
from include.campaign.template import LAUNCHER_VARIABLES

if TYPE_CHECKING:
    from include.campaign.context import Context
    from include.campaign.spec_jobs import JobKeys
    from include.campaign.yaml_tree import KeyPath

JOB_DEFAULTS: dict[str, Any] = {
    "memory": 2000 * 2**20,
    "disk": 10 * 2**30,
    "cpus": 1,
    "lifetime": 8 * 3600,
    "success_threshold": 0.9,
    "hold_limit": 3600,
    "hold_pause": 60,
    "unknown_limit": 1800,
    "jobsub_options": (),
    "launcher_arguments": (),
    "arguments": (),
    "files": (),
    "events": None,
    "tree": None,
    "keep": "forever",
}
"""What a key is where neither the stage nor `defaults` says; bytes and seconds."""
GUARD_S = 180
"""How long a job stays on an unfit node where the spec does not say, seconds."""
_CAPS = {"max_memory": "memory", "max_disk": "disk", "max_lifetime": "lifetime"}


def setting(context: Context, own: JobKeys, key: str) -> Any:
    """Return a key's value: the stage's own, else the defaults', else prodsys's."""
    for keys in (own, context.spec.defaults):
        value = getattr(keys, key)
        if value is not None:
            return value
    return JOB_DEFAULTS[key]


def place_of(context: Context, path: KeyPath, *key: str) -> KeyPath:
    """Return the place of a key that the stage or `defaults` has."""
    own = (*path, *key)
    return own if own in context.read.tree.keys else ("defaults", *key)


def job_settings(context: Context, path: KeyPath, own: JobKeys) -> dict[str, Any]:
    """Return the plan's fields that stages and merges share."""
    environment = {}
    for place, keys in ((("defaults",), context.spec.defaults), (path, own)):
        for name, text in keys.environment.items():
            environment[name] = context.closed(text, (*place, "environment", name))
    return {
        "environment": tuple(environment.items()),
        "resources": ResourcesPlan(
            memory_mb=_megabytes(setting(context, own, "memory")),
            disk_kb=_kilobytes(setting(context, own, "disk")),
            cpus=setting(context, own, "cpus"),
            lifetime_s=setting(context, own, "lifetime"),
        ),
        "success_threshold": _success_threshold(context, own),
        "hold_limit_s": setting(context, own, "hold_limit"),
        "hold_pause_s": setting(context, own, "hold_pause"),
        "unknown_limit_s": setting(context, own, "unknown_limit"),
        "jobsub_options": setting(context, own, "jobsub_options"),
        "recovery": _recovery(context, path, own),
        "node": _node(context, own),
        "launcher": _launcher(context, path, own),
    }


def _launcher(context: Context, path: KeyPath, own: JobKeys) -> LauncherPlan | None:
    """Return what submits in place of prodsys; None where prodsys does."""
    keys, place = (
        (own, path) if "launcher" in own.model_fields_set else (context.spec.defaults, ("defaults",))
    )
    where = place_of(context, path, "launcher_arguments")
    if keys.launcher is None:
        if own.launcher_arguments is not None and not context.has(*place, "launcher"):
            context.wrong("'launcher_arguments' goes with 'launcher' only", where, at_key=True)
        return None
    return LauncherPlan(
        script=context.script(keys.launcher, (*place, "launcher"), by_shell=True),
        arguments=tuple(
            context.fill(template, (*where, index), job=LAUNCHER_VARIABLES).text
            for index, template in enumerate(setting(context, own, "launcher_arguments"))
        ),
    )


def _megabytes(size: int) -> int:
    return -(-size // 2**20)


def _kilobytes(size: int) -> int:
    return -(-size // 2**10)


def _success_threshold(context: Context, own: JobKeys) -> float:
    """Return the fraction that must be accepted: all of a merge's, unless the merge itself says otherwise.

    What a stage lacks is made by others; what a merge lacks was made, and is in no file.
    """
    if isinstance(own, MergeSpec) and own.success_threshold is None:
        return 1.0
    return float(setting(context, own, "success_threshold"))


def _recovery(context: Context, path: KeyPath, own: JobKeys) -> RecoveryPlan:
    """Return what may be done about what fails; a cap below what the stage asks for is an error."""
    given: dict[str, Any] = {}
    for keys in (context.spec.defaults, own):
        given |= keys.recovery.model_dump(include=keys.recovery.model_fields_set)
    for cap, key in _CAPS.items():
        asked = setting(context, own, key)
        if given.get(cap) is not None and given[cap] < asked:
            place = place_of(context, path, "recovery", cap)
            stage = path[-1] if path[0] == "stages" else f"the merge {path[-1]}"
            context.wrong(
                f"{cap} is less than the {key} that {stage} asks for", place,
                hint=f"leave it out for twice the stage's own {key}, or raise it",
            )  # fmt: skip
    limits: dict[str, Any] = {
        "max_memory_mb": None if given.get("max_memory") is None else _megabytes(given["max_memory"]),
        "max_disk_kb": None if given.get("max_disk") is None else _kilobytes(given["max_disk"]),
        "max_lifetime_s": given.get("max_lifetime"),
    }
    said = {key: given[key] for key in ("attempts", "then", "releases") if given.get(key) is not None}
    return RecoveryPlan(**limits, **said)


def _node(context: Context, own: JobKeys) -> NodePlan | None:
    """Return what a job requires of its node; None where nothing is said of it."""
    given: dict[str, Any] = {}
    for keys in (context.spec.defaults, own):
        given |= keys.node.model_dump(include=keys.node.model_fields_set)
    if not given:
        return None
    scratch = given.get("scratch")
    return NodePlan(
        cvmfs=tuple((given.get("cvmfs") or {}).items()),
        scratch_mb=None if scratch is None else _megabytes(scratch),
        guard_s=given.get("guard") or GUARD_S,
    )
