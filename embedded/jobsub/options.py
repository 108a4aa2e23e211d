"""The options of jobsub_submit, checked, and merged with the environment's hooks."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded.jobsub import units
from embedded.jobsub.errors import JobsubError
from include.campaign.jobsub_options import changed_by_jobsub

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOTICE = (
    "This is prodsys's stand-in for jobsub_lite: it submits to the HTCondor pool that CONDOR_CONFIG names."
    " There are no tokens, no SAM, no RCDS and no containers here."
)

_Table = tuple[tuple[tuple[str, ...], dict[str, Any]], ...]
"""Options, each as its names and what else argparse is told about it."""

_FLAG: dict[str, Any] = {"action": "store_true"}
_LIST: dict[str, Any] = {"action": "append", "default": []}
_REQUEST: _Table = (
    (("-G", "--group"), {"default": "", "help": "experiment; else $JOBSUB_GROUP, else $GROUP"}),
    (("--role",), {"default": "Analysis", "help": "goes into the ad; there are no tokens here"}),
    (("--subgroup",), {"default": "", "help": "accounting subgroup"}),
    (("-N",), {"type": int, "default": 1, "help": "jobs: processes 0 to N-1 of one cluster"}),
    (
        ("--maxConcurrent",),
        {"type": int, "help": "at most so many at once: makes a DAG of single-job clusters"},
    ),
    (("--memory",), {"default": "2000", "help": "MB, or with KB, MB, GB, TB"}),
    (("--disk",), {"default": "10GB", "help": "KB, or with KB, MB, GB, TB"}),
    (("--cpu",), {"type": int, "default": 1, "help": "CPUs a job"}),
    (("--gpu",), {"type": int, "default": 0, "help": "GPUs a job"}),
    (
        ("--expected-lifetime",),
        {"default": "8h", "help": "short (3h), medium (8h), long (85200s), or as 8h"},
    ),
    (("--timeout",), {"default": "", "help": "kill the executable after this time, such as 8h"}),
)
_WHERE: _Table = (
    (("--site",), {"default": "", "help": "comma list of sites to run at"}),
    (("--onsite",), _FLAG | {"help": "DEDICATED and OPPORTUNISTIC only"}),
    (("--offsite",), _FLAG | {"help": "OFFSITE only"}),
)
_CONTENT: _Table = (
    (("--blocklist", "--blacklist"), {"default": "", "help": "comma list of sites to avoid"}),
    (("--resource-provides",), _LIST | {"help": "usage_model=LIST"}),
    (
        ("-c", "--append_condor_requirements", "--append-condor-requirements"),
        {"default": "", "help": "requirements expression; of several the last counts"},
    ),
    (("-l", "--lines"), _LIST | {"help": "line for the submit file, such as '+A=\"v\"'"}),
    (("-e", "--environment"), _LIST | {"help": "VAR (as it is here) or VAR=VALUE for the job"}),
    (("-f",), _LIST | {"dest": "input_file", "help": "file for $CONDOR_DIR_INPUT: /path or dropbox:///path"}),
    (("--tar_file_name",), _LIST | {"help": "dropbox://TAR or tardir://DIR, unpacked for the job"}),
    (
        ("-d",),
        _LIST | {"nargs": 2, "metavar": ("TAG", "DIR"), "help": "copy $CONDOR_DIR_TAG to DIR at the end"},
    ),
    (("-L", "--log_file"), {"default": "", "help": "copy the job's standard output there at the end"}),
    (("--job-info",), _LIST | {"help": "command to call with the job id once submitted"}),
    (("--schedd-for-testing",), {"default": "", "help": "submit to this schedd"}),
    (("-n", "--no_submit", "--no-submit"), _FLAG | {"help": "only write the submission files"}),
    (("--dataset_definition", "--dataset"), {"default": "", "help": "refused: there is no SAM here"}),
    (("-v", "--verbose"), {"action": "count", "default": 0, "help": "say more"}),
)
_IGNORED_FLAGS = (
    "--managed-token",
    "--no-singularity",
    "--mail_never",
    "--mail_always",
    "--mail_on_error",
    "--use-cvmfs-dropbox",
    "--use-pnfs-dropbox",
    "--no-env-cleanup",
    "--devserver",
    "--debug",
)
_IGNORED_VALUES = (
    "--need-storage-modify",
    "--need-scope",
    "--singularity-image",
    "--skip-check",
    "--OS",
    "--email-to",
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tarball:
    """One --tar_file_name."""

    path: Path
    """A tar file, or the folder to make one of."""
    is_folder: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """One call of jobsub_submit."""

    executable: Path
    arguments: tuple[str, ...]
    group: str
    role: str
    subgroup: str
    jobs: int
    max_concurrent: int | None
    """None where it would change nothing."""
    memory_mb: int
    disk_kb: int
    cpus: int
    gpus: int
    lifetime_s: int
    timeout_s: int | None
    sites: str
    """Comma list; empty: any."""
    blocked_sites: str
    usage_model: str
    requirements: str
    """Added to those of jobsub as it is; empty: none."""
    lines: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    input_files: tuple[str, ...]
    """Fetched by the job from where they lie."""
    dropbox_files: tuple[Path, ...]
    """Sent with the job."""
    tarballs: tuple[Tarball, ...]
    output_dirs: tuple[tuple[str, str], ...]
    """(tag, folder)."""
    log_file: str
    job_info: tuple[str, ...]
    """Commands run here with the job id after the submission."""
    schedd: str
    """Empty: chosen."""
    no_submit: bool
    verbose: bool
    ignored: tuple[str, ...]
    """Options that mean nothing here."""


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return the options; raises JobsubError for what cannot be, SystemExit for what argparse refuses."""
    given = _parser().parse_args(arguments)
    _refuse(given)
    hooks = {
        name: _comma_list(environ.get(f"JOBSUB_EXTRA_{name}", ""))
        for name in ("ENVIRONMENT", "LINES", "JOB_INFO")
    }
    plain, dropbox = _files(given.input_file)
    return Options(
        executable=_executable(given.executable),
        arguments=tuple(given.exe_arguments),
        group=_group(given.group, environ),
        role=given.role,
        subgroup=given.subgroup,
        jobs=given.N,
        max_concurrent=given.maxConcurrent if (given.maxConcurrent or given.N) < given.N else None,
        memory_mb=units.size(given.memory, option="--memory", unit="m"),
        disk_kb=units.size(given.disk, option="--disk", unit="k"),
        cpus=given.cpu,
        gpus=given.gpu,
        lifetime_s=units.lifetime(given.expected_lifetime),
        timeout_s=units.seconds(given.timeout, option="--timeout") if given.timeout else None,
        sites=given.site,
        blocked_sites=_blocked(given.blocklist, given.site),
        usage_model=_usage_model(given),
        requirements=changed_by_jobsub(given.append_condor_requirements),
        lines=(*map(changed_by_jobsub, given.lines), *hooks["LINES"]),
        environment=tuple(_variable(text, environ) for text in (*given.environment, *hooks["ENVIRONMENT"])),
        input_files=plain,
        dropbox_files=dropbox,
        tarballs=tuple(_tarball(text) for text in given.tar_file_name),
        output_dirs=tuple(_output_dir(tag, folder) for tag, folder in given.d),
        log_file=given.log_file,
        job_info=(*given.job_info, *hooks["JOB_INFO"]),
        schedd=given.schedd_for_testing,
        no_submit=given.no_submit,
        verbose=bool(given.verbose),
        ignored=tuple(given.ignored),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="jobsub_submit", description=NOTICE)
    where = parser.add_mutually_exclusive_group()
    for group, table in ((parser, _REQUEST), (where, _WHERE), (parser, _CONTENT)):
        for names, settings in table:
            group.add_argument(*names, **settings)
    note = "taken, and ignored here"
    for name in _IGNORED_FLAGS:
        parser.add_argument(name, action="append_const", dest="ignored", const=name, default=[], help=note)
    for name in _IGNORED_VALUES:
        parser.add_argument(name, action=_Ignored, dest="ignored", default=[], help=note)
    parser.add_argument("executable", metavar="file:///ABS/EXE", help="what each job runs")
    parser.add_argument("exe_arguments", nargs=argparse.REMAINDER, metavar="ARGS", help="its arguments")
    return parser


class _Ignored(argparse.Action):
    """Notes that an option with a value was given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        """Add the option's name to the list of those ignored."""
        del parser, values
        setattr(namespace, self.dest, [*getattr(namespace, self.dest), str(option_string)])


def _refuse(given: argparse.Namespace) -> None:
    if given.dataset_definition:
        raise JobsubError(
            f"--dataset_definition {given.dataset_definition}: there is no SAM here, give files by -f"
        )
    if given.N < 1:
        raise JobsubError(f"-N {given.N}: at least 1 job")
    if given.maxConcurrent is not None and given.maxConcurrent < 1:
        raise JobsubError(f"--maxConcurrent {given.maxConcurrent}: at least 1 job at a time")


def _group(given: str, environ: Mapping[str, str]) -> str:
    group = given or environ.get("JOBSUB_GROUP") or environ.get("GROUP")
    if not group:
        raise JobsubError("jobsub_submit needs -G group or $JOBSUB_GROUP or $GROUP in the environment")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", group):
        raise JobsubError(f"-G {group}: a group is made of letters, digits, - and _")
    return group


def _executable(text: str) -> Path:
    if not text.startswith("file:///"):
        raise JobsubError(f"{text}: the executable is given as file:///absolute/path")
    path = Path(text.removeprefix("file://"))
    if not path.is_file():
        raise JobsubError(f"{text}: there is no such file")
    return path


def _files(given: Sequence[str]) -> tuple[tuple[str, ...], tuple[Path, ...]]:
    """Return the -f files as (fetched by the job, sent along)."""
    dropbox = tuple(Path(text.removeprefix("dropbox://")) for text in given if text.startswith("dropbox://"))
    names: set[str] = set()
    for path in dropbox:
        if not path.is_file():
            raise JobsubError(f"-f dropbox://{path}: there is no such file")
        if path.name in names:
            raise JobsubError(
                f"-f dropbox://{path}: another file is called {path.name} in $CONDOR_DIR_INPUT already"
            )
        names.add(path.name)
    return tuple(text for text in given if not text.startswith("dropbox://")), dropbox


def _tarball(text: str) -> Tarball:
    scheme, _, rest = text.partition("://")
    path = Path(rest)
    if scheme == "tardir" and path.is_dir():
        return Tarball(path=path, is_folder=True)
    if scheme == "dropbox" and path.is_file():
        return Tarball(path=path, is_folder=False)
    if scheme in ("tardir", "dropbox"):
        raise JobsubError(
            f"--tar_file_name {text}: there is no {'folder' if scheme == 'tardir' else 'file'} {path}"
        )
    raise JobsubError(f"--tar_file_name {text}: give dropbox://TAR or tardir://DIR")


def _output_dir(tag: str, folder: str) -> tuple[str, str]:
    if not re.fullmatch(r"[A-Za-z0-9_]+", tag):
        raise JobsubError(f"-d {tag}: the tag becomes $CONDOR_DIR_{tag}, so only letters, digits and _")
    return tag, folder


def _variable(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not _VARIABLE.fullmatch(name):
        raise JobsubError(f"-e {text}: {name!r} is not a variable's name")
    if not equals:
        if name not in environ:
            raise JobsubError(f"-e {name}: the variable is not set here; give -e {name}=VALUE")
        value = environ[name]
    return name, value


def _blocked(blocklist: str, site: str) -> str:
    both = set(_comma_list(blocklist)) & set(_comma_list(site))
    if both:
        raise JobsubError(f"--site and --blocklist both name {', '.join(sorted(both))}")
    return blocklist


def _usage_model(given: argparse.Namespace) -> str:
    for text in given.resource_provides:
        if text.startswith("usage_model="):
            return str(text.removeprefix("usage_model="))
    if given.onsite:
        return "DEDICATED,OPPORTUNISTIC"
    return "OFFSITE" if given.offsite else "DEDICATED,OPPORTUNISTIC,OFFSITE"


def _comma_list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
