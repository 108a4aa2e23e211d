"""`prodsys validate`, `prodsys plan`, `prodsys schema`: look at campaigns without submitting anything."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from include.campaign.catalogue import check_all, find_specs
from include.campaign.cost import cost_of
from include.campaign.json_schema import SCHEMA_FILE, schema_text
from include.campaign.resolve import SUFFIXES, load_plan
from include.campaign.wording import did_you_mean
from include.errors import SpecError, SpecErrors

if TYPE_CHECKING:
    from include.campaign.plan import CampaignPlan

SPEC_ERRORS = 1
"""Exit code where a campaign file is wrong."""
USAGE = 2
"""Exit code where the command was called wrongly; typer's own."""

SpecsOption = Annotated[
    Path,
    typer.Option(
        "--specs", envvar="PRODSYS_SPECS", help="Folder of campaigns: EXPERIMENT/NAME.yaml.", metavar="DIR"
    ),
]
AreaOption = Annotated[
    Path,
    typer.Option(
        "--area", envvar="PRODSYS_AREA", help="What {area} stands for in storage paths.", metavar="DIR"
    ),
]
DEFAULT_SPECS = Path("campaign_specs")
DEFAULT_AREA = Path(".prodsys/area")


def validate(
    paths: Annotated[
        list[Path] | None, typer.Argument(help="Campaign files or folders; default: all.", show_default=False)
    ] = None,
    *,
    specs: SpecsOption = DEFAULT_SPECS,
    area: AreaOption = DEFAULT_AREA,
) -> None:
    """Check campaign files; say what is wrong where, and exit with 1 if anything is."""
    wanted = [Path(os.path.abspath(path)) for path in paths or []]  # noqa: PTH100 - keeps links as they are
    for path in wanted:
        if not path.exists():
            raise typer.BadParameter(f"{path} does not exist")
    good = broken = 0
    for folder in _folders(specs, wanted):
        for path, found in _check(folder, area):
            if wanted and not any(path == one or one in path.parents for one in wanted):
                continue
            if isinstance(found, SpecError):
                broken += 1
                _say_errors(found)
            else:
                good += 1
                typer.echo(f"{_shown(path)}: good, {_summary(found)}")
    if not good and not broken:
        raise typer.BadParameter(f"no campaign found in {', '.join(map(str, wanted)) or specs}")
    typer.echo(f"{good} good, {broken} broken", err=bool(broken))
    if broken:
        raise typer.Exit(SPEC_ERRORS)


def plan(
    campaign: Annotated[str, typer.Argument(help="EXPERIMENT.NAME, or a campaign file.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Write the plan as JSON.")] = False,
    run: Annotated[
        int | None, typer.Option("--run", help="Run number of the examples.", show_default="first")
    ] = None,
    specs: SpecsOption = DEFAULT_SPECS,
    area: AreaOption = DEFAULT_AREA,
) -> None:
    """Show what a campaign will submit, everything resolved."""
    from include.commands.plan_view import plan_as_json, show_plan

    path = _spec_of(campaign, specs)
    folder = _folders(specs, [path])[0]
    try:
        resolved = load_plan(path, specs=folder, area=os.path.abspath(area))  # noqa: PTH100
    except SpecError as error:
        _say_errors(error)
        raise typer.Exit(SPEC_ERRORS) from error
    example_run = resolved.first_run if run is None else run
    if not resolved.first_run <= example_run <= resolved.last_run:
        raise typer.BadParameter(f"run {run} is not in {resolved.first_run}..{resolved.last_run}")
    if as_json:
        typer.echo(json.dumps(plan_as_json(resolved, run=example_run), indent=2, ensure_ascii=False))
    else:
        show_plan(resolved, run=example_run)


def schema(
    *,
    write: Annotated[
        bool, typer.Option("--write", help=f"Write SPECS/{SCHEMA_FILE} in place of showing it.")
    ] = False,
    specs: SpecsOption = DEFAULT_SPECS,
) -> None:
    """Show the JSON Schema of campaign files, for editors."""
    if not write:
        typer.echo(schema_text(), nl=False)
        return
    file = specs / SCHEMA_FILE
    try:
        file.write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}") from error
    typer.echo(f"wrote {file}")


def register(app: typer.Typer) -> None:
    """Put the commands on the command line."""
    app.command()(validate)
    app.command()(plan)
    app.command()(schema)


def _folders(specs: Path, wanted: list[Path]) -> list[Path]:
    """Return the folders of campaigns to look at: the option's, and those of files that are elsewhere."""
    specs = Path(os.path.abspath(specs))  # noqa: PTH100
    folders = []
    for path in wanted or [specs]:
        if path == specs or specs in path.parents or path in specs.parents:
            folders.append(specs)
        elif path.is_file():
            folders.append(path.parent.parent)
        else:  # an experiment's folder, or a folder of them
            folders.append(path.parent if any(path.glob("*.y*ml")) else path)
    return list(dict.fromkeys(folders))


def _check(folder: Path, area: Path) -> list[tuple[Path, CampaignPlan | SpecError]]:
    try:
        return check_all(folder, os.path.abspath(area))  # noqa: PTH100
    except SpecError as error:  # the folder itself
        raise typer.BadParameter(str(error)) from error


def _spec_of(campaign: str, specs: Path) -> Path:
    if campaign.endswith(SUFFIXES):
        path = Path(os.path.abspath(campaign))  # noqa: PTH100
        if not path.is_file():
            raise typer.BadParameter(f"{path} does not exist")
        return path
    try:
        folder = Path(os.path.abspath(specs))  # noqa: PTH100
        found = {f"{path.parent.name}.{path.stem}": path for path in find_specs(folder)}
    except SpecError as error:
        raise typer.BadParameter(str(error)) from error
    name = campaign.replace("/", ".")
    if name not in found:
        raise typer.BadParameter(
            f"there is no campaign {campaign!r} in {specs} ({did_you_mean(name, found)})"
        )
    return found[name]


def _say_errors(error: SpecError) -> None:
    for one in error.errors if isinstance(error, SpecErrors) else (error,):
        typer.echo(_shown_text(str(one)), err=True)


def _shown_text(text: str) -> str:
    return text.removeprefix(str(Path.cwd()) + os.sep)


def _shown(path: Path) -> str:
    return _shown_text(str(path))


def _summary(found: CampaignPlan) -> str:
    merges = sum(stage.is_merge for stage in found.stages)
    return (
        f"stages: {len(found.stages) - merges}, merges: {merges}, {found.slices} x {found.subruns} subruns, "
        f"runs {found.first_run}..{found.last_run}; a dag_run: {cost_of(found)}"
    )
