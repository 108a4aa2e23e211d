"""A submission's folder: the wrapper, the submit file, the DAG, and what is sent along."""

from __future__ import annotations

import shlex
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.jobsub.errors import JobsubError

if TYPE_CHECKING:
    from embedded.jobsub.options import Options

SUBMIT_FILE = "simple.cmd"
DAG_FILE = "maxconcurrent.dag"
_WRAPPER = Path(__file__).with_name("wrapper.sh")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What a submission's files need besides the options."""

    folder: Path
    schedd: str
    user: str
    uuid: str
    command: str
    """jobsub_submit's own command line."""


def write(options: Options, submission: Submission) -> None:
    """Write every file of the submission into its folder."""
    folder = submission.folder
    tars = _gather(options, folder / "send")
    wrapper = folder / "simple.sh"
    wrapper.write_text(wrapper_text(options, tars))
    wrapper.chmod(0o755)
    (folder / SUBMIT_FILE).write_text(submit_text(options, submission))
    if options.max_concurrent is not None:
        (folder / DAG_FILE).write_text(dag_text(options))


def _gather(options: Options, send: Path) -> tuple[str, ...]:
    """Copy what goes with the jobs into `send`, so that later changes of the originals do not reach them."""
    (send / "jsb_dropbox").mkdir(parents=True)
    if options.executable.name in ("jsb_dropbox", "jsb_tars", "jsb_tmp", "no_xfer"):
        raise JobsubError(f"{options.executable}: the wrapper uses that name itself; rename the executable")
    shutil.copy2(options.executable, send / options.executable.name)
    for path in options.dropbox_files:
        shutil.copy2(path, send / "jsb_dropbox" / path.name)
    names = []
    for index, tarball in enumerate(options.tarballs):
        target = send / "jsb_tars" / str(index)
        target.mkdir(parents=True)
        if tarball.is_folder:
            name = f"{tarball.path.resolve().name}.tar"
            with tarfile.open(target / name, "w") as archive:
                archive.add(tarball.path, arcname=".")
        else:
            name = tarball.path.name
            shutil.copy2(tarball.path, target / name)
        names.append(name)
    return tuple(names)


def wrapper_text(options: Options, tars: tuple[str, ...]) -> str:
    """Return the wrapper: this submission's own part, and the part that all share."""
    fetch = [f'cp {shlex.quote(path)} "$CONDOR_DIR_INPUT/"' for path in options.input_files]
    unpack = [line for index, name in enumerate(tars) for line in _unpack(index, name)]
    dirs = [f'CONDOR_DIR_{tag}=$jsb_top/out_{tag}; export CONDOR_DIR_{tag}; mkdir -p "$CONDOR_DIR_{tag}"'
            for tag, _ in options.output_dirs]  # fmt: skip
    copies = [f'cp -R "$CONDOR_DIR_{tag}"/* {shlex.quote(folder)}' for tag, folder in options.output_dirs]
    # exec: a signal for the job then reaches the executable itself.
    run = [
        ["exec"],
        ["timeout", str(options.timeout_s)] if options.timeout_s else [],
        [f"./{options.executable.name}"],
    ]
    parts = [
        "#!/bin/sh",
        f"jsb_exe={shlex.quote(options.executable.name)}",
        f"jsb_log_file={shlex.quote(options.log_file)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in options.environment),
        _function("jsb_fetch", fetch),
        _function("jsb_unpack", unpack),
        _function("jsb_make_dirs", dirs),
        _function("jsb_run", [shlex.join([word for part in run for word in part] + list(options.arguments))]),
        _function("jsb_copy_out", copies),
        "",
        _WRAPPER.read_text(),
    ]
    return "\n".join(parts)


def _function(name: str, lines: list[str]) -> str:
    return "\n".join([f"{name}() {{", *(f"    {line}" for line in lines or [":"]), "}"])


def _unpack(index: int, name: str) -> list[str]:
    suffix = f"_{index}" if index else ""
    folder = f"$jsb_top/.unwind_{index}"
    packed = f'"$jsb_top/jsb_tars/{index}/"{shlex.quote(name)}'
    return [
        f'mkdir -p "{folder}" && tar -C "{folder}" -xf {packed}',
        f"INPUT_TAR_DIR_LOCAL{suffix}={folder}; INPUT_TAR_FILE{suffix}={packed}",
        f"export INPUT_TAR_DIR_LOCAL{suffix} INPUT_TAR_FILE{suffix}",
        f'ln -s {packed} "$CONDOR_DIR_INPUT/"',
    ]


def submit_text(options: Options, submission: Submission) -> str:
    """Return the submit file; a DAG's nodes share it, each with a JOBSUBJOBSECTION of its own."""
    dag = options.max_concurrent is not None
    group = f"group_{options.group}" + (f".{options.subgroup}" if options.subgroup else "")
    job_id = f"$(Cluster).$(Process)@{submission.schedd}"
    lines = [
        "# Written by prodsys's stand-in for jobsub_lite.",
        "universe = vanilla",
        "executable = simple.sh",
        f"arguments = {_words(options.arguments)}",
        "output = job.$(Cluster).$(Process).out",
        "error = job.$(Cluster).$(Process).err",
        "log = job.$(Cluster).log",
        *([] if dag else ["JOBSUBJOBSECTION = $(Process)"]),
        f'environment = "{_environment(options, submission, job_id)}"',
        # 25.14 makes many a job wait 5 s between the end of its transfer and its start (the shadow tells the
        # starter to ask again), so nothing is transferred where node and schedd share a file system.
        "should_transfer_files = IF_NEEDED",
        "when_to_transfer_output = ON_EXIT",
        "transfer_input_files = send/",
        'transfer_output_files = ""',
        "notification = Never",
        f"request_cpus = {options.cpus}",
        f"request_memory = {options.memory_mb}",
        f"request_disk = {options.disk_kb}",
        *([f"request_gpus = {options.gpus}"] if options.gpus else []),
        f"accounting_group = {group}",
        f"accounting_group_user = {submission.user}",
        *_attributes(options, submission, job_id),
        *options.lines,
        _requirements(options),
        f"queue {1 if dag else options.jobs}",
    ]
    return "\n".join(lines) + "\n"


def _attributes(options: Options, submission: Submission, job_id: str) -> list[str]:
    """Return the lines for the job's ad that jobsub and the sites read."""
    texts = {
        "JobsubJobId": job_id,
        "Jobsub_Group": options.group,
        "JobsubCmd": _plain(options.executable.name),
        "JobsubUUID": submission.uuid,
        "JobsubOutputURL": _plain(f"file://{submission.folder}"),
        "JobsubRole": _plain(options.role),
        "DESIRED_usage_model": _plain(options.usage_model),
        # A $$() of the machine's attribute leaves MATCH_GLIDEIN_Site in the job's ad.
        "JOBGLIDEIN_Site": "$$(GLIDEIN_Site:Unknown)",
    }
    if options.sites:
        texts["DESIRED_SITES"] = _plain(options.sites)
    if options.blocked_sites:
        texts["Blacklist_Sites"] = _plain(options.blocked_sites)
    return [
        f"+JOB_EXPECTED_MAX_LIFETIME = {options.lifetime_s}",
        *(f"+{name} = {_string(text)}" for name, text in texts.items()),
    ]


def _requirements(options: Options) -> str:
    """Return the requirements: jobsub's own terms, then that of -c without parentheses, as in jobsub_lite."""
    terms = ["TARGET.Machine =!= MachineAttrMachine1", "TARGET.Machine =!= MachineAttrMachine2"]
    if options.sites:
        terms.append("(stringListIMember(TARGET.GLIDEIN_Site, MY.DESIRED_SITES) =?= True)")
    if options.blocked_sites:
        terms.append("(stringListIMember(TARGET.GLIDEIN_Site, MY.Blacklist_Sites) =!= True)")
    if options.requirements:
        terms.append(options.requirements)
    return f"requirements = {' && '.join(terms)}"


def _environment(options: Options, submission: Submission, job_id: str) -> str:
    """Return jobsub's own variables for HTCondor; the wrapper sets the user's: no $(…) there."""
    token = (
        f".condor_creds/{options.group}{'' if options.role == 'Analysis' else '_' + options.role.lower()}.use"
    )
    own = {
        "CLUSTER": "$(Cluster)",
        "PROCESS": "$(Process)",
        "JOBSUBJOBSECTION": "$(JOBSUBJOBSECTION)",
        "JOBSUBJOBID": job_id,
        "DAGMANJOBID": "$(DAGManJobId)",
        "GRID_USER": submission.user,
        "EXPERIMENT": options.group,
        "CONDOR_TMP": _plain(str(submission.folder)),
        "BEARER_TOKEN_FILE": token,
    }
    return " ".join(f"{name}={_quoted(value)}" for name, value in own.items())


def _quoted(value: str) -> str:
    doubled = value.replace("'", "''").replace('"', '""')
    return f"'{doubled}'"


def _plain(value: str) -> str:
    """Keep HTCondor from expanding a user's $(…) as a macro."""
    return value.replace("$", "$(DOLLAR)")


def _words(arguments: tuple[str, ...]) -> str:
    """Return arguments joined as jobsub_lite does; for the ad alone, this wrapper has its own."""
    return _plain(" ".join(" ".join(arguments).split())).replace('"', '\\"')


def _string(value: str) -> str:
    """Return a ClassAd string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def dag_text(options: Options) -> str:
    """Return the DAG: a single-job cluster a section, so many at once as asked for."""
    lines = []
    for index in range(options.jobs):
        lines += [
            f"JOB WORKER_{index} {SUBMIT_FILE}",
            f'VARS WORKER_{index} JOBSUBJOBSECTION="{index}" nodename="$(JOB)"',
            f"CATEGORY WORKER_{index} WORKERS",
        ]
    lines.append(f"MAXJOBS WORKERS {options.max_concurrent}")
    return "\n".join(lines) + "\n"
