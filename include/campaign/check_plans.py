"""The checks of a stage and a campaign: which are on, how tuned, and which are the experiment's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from include.campaign.plan import UserCheckPlan
from include.campaign.spec import BASE_CHECKS
from include.campaign.wording import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.campaign.context import Context
    from include.campaign.plan import CheckSettings, OutputPlan
    from include.campaign.spec_jobs import CheckSpec
    from include.campaign.yaml_tree import KeyPath

SETTINGS: Mapping[str, tuple[str, ...]] = {
    "usage": ("wall_factor", "memory_factor"),
    "status": ("success",),
}
"""Base check → its settings."""
ON_REQUEST: Mapping[str, str] = {"status": "success", "manifest": ""}
"""Base checks that are off unless the spec asks for them → the setting that they need."""
HDF5_SUFFIXES = (".h5", ".hdf5", ".he5")
DEFAULT_TIMEOUT_S = 300
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "job": ("run", "subrun", "process"),
    "stage": ("run",),
    "campaign": (),
}
_OWN_KEYS = ("script", "entry", "scope", "timeout", "arguments")
_TOP = "write it under the campaign's checks"


def own_checks(context: Context) -> dict[str, UserCheckPlan]:
    """Return the experiment's own checks that are written for the campaign, those switched off included."""
    found = {}
    for name, check in context.spec.checks.items():
        place: KeyPath = ("checks", name)
        if _is_own(context, name, check, place, known=()):
            found[name] = _own(context, name, check, place)
    return found


def campaign_checks(context: Context, own: Mapping[str, UserCheckPlan]) -> tuple[UserCheckPlan, ...]:
    """Return those of scope campaign that are on."""
    written = context.spec.checks
    return tuple(
        check for name, check in own.items() if check.scope == "campaign" and written[name].on is not False
    )


def stage_checks(
    context: Context, path: KeyPath, own: Mapping[str, CheckSpec], outputs: tuple[OutputPlan, ...]
) -> tuple[str, ...]:
    """Return the names of the base checks that are on for a stage, in the order in which they run."""
    possible = set(BASE_CHECKS)
    if all(output.tree is None or output.file_name.endswith(HDF5_SUFFIXES) for output in outputs):
        possible.discard("root")
        if "root" in own and own["root"].on is not False:
            context.wrong("the check 'root' needs a ROOT output with a 'tree'", (*path, "checks", "root"))
    if not any(output.file_name.endswith(HDF5_SUFFIXES) for output in outputs):
        possible.discard("hdf5")
        if "hdf5" in own and own["hdf5"].on is not False:
            hint = f"it looks at files that end in {', '.join(HDF5_SUFFIXES)}"
            context.wrong("the check 'hdf5' needs an HDF5 file", (*path, "checks", "hdf5"), hint=hint)
    return tuple(name for name in BASE_CHECKS if name in possible and _is_on(context, path, own, name))


def stage_settings(context: Context, own: Mapping[str, CheckSpec]) -> CheckSettings:
    """Return how the base checks are tuned for a stage: what it says itself, else what the campaign says."""
    found = []
    for name, keys in SETTINGS.items():
        said: dict[str, float | str] = {}
        for checks in (context.spec.checks, own):
            if name in checks:
                said |= checks[name].model_dump(include=checks[name].model_fields_set & set(keys))
        if said:
            found.append((name, tuple(said.items())))
    return tuple(found)


def stage_own_checks(
    context: Context, path: KeyPath, own: Mapping[str, CheckSpec], inherited: Mapping[str, UserCheckPlan]
) -> tuple[UserCheckPlan, ...]:
    """Return the experiment's own checks of scope job and stage that are on for a stage."""
    checks = {name: check for name, check in inherited.items() if check.scope != "campaign"}
    on = {name: context.spec.checks[name].on is not False for name in checks}
    for name, check in own.items():
        place = (*path, "checks", name)
        if _is_own(context, name, check, place, known=tuple(checks)):
            checks[name] = _own(context, name, check, place)
            if checks[name].scope == "campaign":
                context.wrong(f"{name!r} is of scope campaign", (*place, "scope"), hint=_TOP)
        on[name] = check.on is not False
    return tuple(check for name, check in checks.items() if on[name])


def _is_on(context: Context, path: KeyPath, own: Mapping[str, CheckSpec], name: str) -> bool:
    """Whether a base check is on: as the stage says, else the campaign, else as it is by itself."""
    levels: tuple[tuple[Mapping[str, CheckSpec], KeyPath], ...] = ((context.spec.checks, ()), (own, path))
    said = [(checks[name], (*level, "checks", name)) for checks, level in levels if name in checks]
    on = said[-1][0].on is not False if said else name not in ON_REQUEST
    needed = ON_REQUEST.get(name)
    if on and needed and all(getattr(check, needed) is None for check, _ in said):
        context.wrong(f"the check {name!r} needs the setting {needed!r}", said[-1][1], at_key=True)
    return on


def _is_own(context: Context, name: str, check: CheckSpec, place: KeyPath, *, known: tuple[str, ...]) -> bool:
    """Return whether a check is the experiment's own and is written here; what is wrong with it is noted."""
    keys = check.model_fields_set - {"on"}
    if name in BASE_CHECKS:
        settings = SETTINGS.get(name, ())
        for key in sorted(keys - set(settings)):
            hint = f"it has {' and '.join(settings)}" if settings else "it is switched with true or false"
            if key in _OWN_KEYS:
                hint = "a check of your own needs a name of its own"
            context.wrong(f"prodsys's check {name!r} has no {key!r}", (*place, key), hint=hint, at_key=True)
        return False
    for key in sorted(keys - set(_OWN_KEYS)):
        context.wrong(f"{key!r} is no key of a check of your own", (*place, key), at_key=True)
    if check.is_own:
        return True
    if not {"script", "entry"}.isdisjoint(context.written(*map(str, place))):
        return False  # what it brings is wrong, and has its error
    if keys:
        context.wrong(f"the check {name!r} lacks 'script' or 'entry'", place, at_key=True)
    elif name not in known:
        hint = did_you_mean(name, (*BASE_CHECKS, *known))
        context.wrong(f"there is no check {name!r}", place, hint=hint, at_key=True)
    return False


def _own(context: Context, name: str, check: CheckSpec, place: KeyPath) -> UserCheckPlan:
    scope = check.scope or "job"
    arguments = [
        context.fill(template, (*place, "arguments", index), job=_VARIABLES[scope]).text
        for index, template in enumerate(check.arguments or ())
    ]
    path = (*place, "script")
    return UserCheckPlan(
        name=name,
        scope=scope,
        script="" if check.script is None else context.script(check.script, path, by_shell=True),
        entry=check.entry or "",
        arguments=tuple(arguments),
        timeout_s=check.timeout or DEFAULT_TIMEOUT_S,
    )
