#!/usr/bin/env python3
"""What runs on the worker node: one file, standard library only, Python 3.6 or newer; docs/job-contract.md.

prodsys_job.py run job.json        do the job that job.json describes, leave outputs, log and report
prodsys_job.py manifest-check DIR  compare the files of a published folder with its manifest
prodsys_job.py node-probe          print what is known of this node, as JSON
prodsys_job.py adler32 FILE        print a file's adler32, 8 hex digits
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import time
import traceback
import types
import zlib
from typing import Any, Callable, Dict, List, NoReturn, Optional, Tuple

VERSION = 1
EXIT_CODES = {"inputs": 81, "script": 126, "outputs": 82, "outstage": 83}
EXIT_JOB_FILE, EXIT_NOT_FOUND = 84, 127
BLOCK, ECHO_HEAD, ECHO_TAIL = 1 << 20, 16 << 10, 64 << 10
Document = Dict[str, Any]


class JobError(Exception):
    """The job failed: where (`failed_at` of the report), one sentence, and the code to exit with."""

    def __init__(self, failed_at: str, sentence: str, code: Optional[int] = None) -> None:
        super().__init__(sentence)
        self.failed_at = failed_at
        self.code = EXIT_CODES[failed_at] if code is None else code


def refuse(sentence: str) -> NoReturn:
    """Raise the error for a job.json that is wrong."""
    raise JobError("inputs", "job.json: " + sentence, EXIT_JOB_FILE)


def say(line: str) -> None:
    """Print one line of our own; a stdout that nobody reads is no reason to fail."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(b"prodsys_job: " + os.fsencode(line) + b"\n")
        sys.stdout.buffer.flush()


def convert(value: Any, text: Callable[[str], str]) -> Any:
    """Return JSON's `value` with `text` applied to every string."""
    if isinstance(value, list):
        return [convert(item, text) for item in value]
    if isinstance(value, dict):
        return {text(key): convert(item, text) for key, item in value.items()}
    return text(value) if isinstance(value, str) else value


def from_json(value: Any) -> Any:
    """Return strings as file system calls want them: Python 3.6 in the C locale takes names for ASCII."""
    return convert(value, lambda text: os.fsdecode(text.encode("utf-8", "surrogateescape")))


def to_json(value: Any) -> Any:
    """Return strings as plain Unicode; the inverse of `from_json`."""
    return convert(value, lambda text: os.fsencode(text).decode("utf-8", "replace"))


def canonical(document: Document) -> bytes:
    """Return the canonical JSON of `document`, without its selfcheck."""
    rest = {key: value for key, value in document.items() if key != "selfcheck"}
    return json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def sealed(document: Document) -> Document:
    """Return a copy of `document`, ready for JSON, with its selfcheck."""
    plain: Document = to_json(document)
    plain["selfcheck"] = hashlib.sha256(canonical(plain)).hexdigest()
    return plain


def write_json(folder: str, name: str, document: Document) -> None:
    """Write JSON under a temporary name, sync it, rename it to `name`."""
    part = os.path.join(folder, f".{name}.part")
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False)
    with open(part, "wb") as stream:
        stream.write(text.encode("utf-8") + b"\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(part, os.path.join(folder, name))
    sync_folder(folder)


def sync_folder(path: str) -> None:
    """Make renames in a folder durable; not every file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def read_ad(path: Optional[str]) -> Dict[str, str]:
    """Return the literal attributes of the job's ad, names in lower case; empty where there is no ad."""
    ad: Dict[str, str] = {}
    with contextlib.suppress(OSError), open(path or os.devnull, "rb") as stream:
        for match in re.finditer(r"^(\w+) = (.*?)\s*$", os.fsdecode(stream.read()), re.MULTILINE):
            value = match.group(2)
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            ad[match.group(1).lower()] = value[1:-1].replace('\\"', '"') if quoted else value
    return ad


def identify() -> Tuple[Document, int, int]:
    """Return the job's identity for the report, which unit it makes, and which start of it this is."""
    get = os.environ.get
    ad = read_ad(get("_CONDOR_JOB_AD"))
    parts = re.match(r"(\d+)\.(\d+)@(.+)", get("JOBSUBJOBID", ""))
    from_id = parts.groups() if parts else (None, None, None)

    def number(*candidates: Optional[str]) -> int:
        return next((int(text) for text in candidates if text and re.match(r"[0-9]+$", text)), 0)

    global_id = ad.get("globaljobid")
    identity: Document = {
        "cluster": number(ad.get("clusterid"), get("CLUSTER"), from_id[0]),
        "process": number(ad.get("procid"), get("PROCESS"), from_id[1]),
        "schedd": global_id.split("#")[0] if global_id else from_id[2],
        "global_job_id": global_id,
        "site": ad.get("match_glidein_site") or get("GLIDEIN_Site"),
    }
    # jobsub sets JOBSUBJOBSECTION to the process number, except in a DAG, where each job is process 0.
    unit = number(get("PROCESS"), str(identity["process"])) or number(get("JOBSUBJOBSECTION"))
    return identity, unit, number(ad.get("numjobstarts"))


def scratch_base() -> str:
    """Return the folder that scratch folders are made in."""
    return os.environ.get("_CONDOR_SCRATCH_DIR") or os.environ.get("TMPDIR") or os.getcwd()


def node_facts() -> Document:
    """Return what is known of this node; it asks nothing that could hang."""
    facts: Document = {"host": socket.gethostname(), "kernel": os.uname().release}
    facts.update(python=sys.version.split()[0], cpus=len(os.sched_getaffinity(0)))
    facts["memory_mb"] = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) >> 20
    with contextlib.suppress(OSError):
        facts["load_1min"] = round(os.getloadavg()[0], 2)
        facts["scratch_free_mb"] = shutil.disk_usage(scratch_base()).free >> 20
    with contextlib.suppress(OSError), open("/proc/mounts", "rb") as stream:
        mounts = [os.fsdecode(line.split()[1]) for line in stream]
        facts["cvmfs"] = sorted(path for path in mounts if path.startswith("/cvmfs/"))
    return facts


def stream_file(path: str, target: Optional[str] = None) -> Tuple[int, str, str]:
    """Read a file once, copying it to `target` if given and reading that back; size, sha256 and adler32."""
    size, sha256, adler = 0, hashlib.sha256(), 1
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(open(path, "rb"))
        copy = stack.enter_context(open(target, "xb")) if target else None
        for block in iter(lambda: source.read(BLOCK), b""):
            size += len(block)
            sha256.update(block)
            adler = zlib.adler32(block, adler)
            if copy:
                copy.write(block)
        if copy:
            copy.flush()
            os.fsync(copy.fileno())
            # Reading back should ask the storage, not this node's cache, where that is possible.
            with contextlib.suppress(OSError):
                os.posix_fadvise(copy.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    sums = size, sha256.hexdigest(), f"{adler & 0xFFFFFFFF:08x}"
    back = stream_file(target) if target else sums
    if back != sums:
        text = f"{target} reads back as {back[0]} bytes, adler32 {back[2]}"
        raise JobError("outstage", f"{text}; {sums[0]} bytes, adler32 {sums[2]} were written")
    return sums


def explain(error: OSError) -> str:
    """Say an OSError without Python's decoration."""
    return f"{error.strerror or error}" + (f": {os.fsdecode(error.filename)}" if error.filename else "")


# What job.json must hold: keys by type.
JOB_KEYS = {
    str: ("tag", "experiment", "campaign", "stage", "outstage", "logs", "script"),
    dict: ("environment", "merge"),
    list: ("arguments", "units", "outputs"),
    int: ("run", "events"),
}
MAY_BE_NULL = ("script", "events", "merge")


def require(what: str, value: Any, keys: Dict[type, Tuple[str, ...]]) -> None:
    """Refuse job.json unless `value` is an object that has `keys` of their types."""
    if not isinstance(value, dict):
        refuse(f"{what} is not an object")
    for kind, key in [(kind, key) for kind, names in keys.items() for key in names]:
        if key not in value:
            refuse(f"{what} has no {key}")
        item = value[key]
        null = item is None and key in MAY_BE_NULL
        if not null and (not isinstance(item, kind) or isinstance(item, bool)):
            refuse(f"{key} of {what} is {item!r:.80}, it should be {kind.__name__}")


def unit_of(document: Document, number: int) -> Document:
    """Return the unit that process `number` makes; refuse job.json if it is wrong."""
    if document.get("version") != VERSION:
        refuse(f"version is {document.get('version')!r:.40}, this prodsys_job.py knows {VERSION}")
    require("the file", document, JOB_KEYS)
    for output in document["outputs"]:
        require("an output", output, {str: ("name", "file_name")})
    if not os.path.isabs(document["outstage"]):
        refuse(f"outstage {document['outstage']} is not absolute")
    if not document["outputs"]:
        refuse("there is no output")
    if number >= len(document["units"]):
        refuse(f"process {number} has no unit, there are {len(document['units'])}")
    unit: Document = document["units"][number]
    require(f"unit {number}", unit, {int: ("first_subrun", "last_subrun"), dict: ("inputs",)})
    for name, paths in unit["inputs"].items():
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            refuse(f"input {name} of unit {number} is not a list of paths")
    return unit


def fill(template: Any, values: Document) -> str:
    """Fill a template of plain names."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(template) if field is not None]
        if not set(fields) <= set(values):
            refuse(f"template {template}: known names are {', '.join(sorted(values))}")
        return str(template.format(**values))
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        refuse(f"template {template}: {error}")


def variable(prefix: str, name: str) -> str:
    """Return the environment variable of a named input or output."""
    return prefix + "_" + re.sub(r"\W", "_", name).upper()


class Stop:
    """Forwards signals that ask us to stop to the script's group of processes; SIGKILL follows."""

    def __init__(self, grace: float) -> None:
        self.asked, self.grace, self.group = 0, grace, 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, lambda *_: self._send(signal.SIGKILL))

    def _on_signal(self, number: int, _frame: Optional[types.FrameType]) -> None:
        self.asked = self.asked or number
        self._send(number)

    def _send(self, number: int) -> None:
        if self.group:
            with contextlib.suppress(OSError):
                os.killpg(self.group, number)
            signal.setitimer(signal.ITIMER_REAL, self.grace)

    def wait(self, child: "subprocess.Popen[Any]") -> int:
        """Wait for the script, then end whatever it left running."""
        self.group = child.pid
        if self.asked:
            self._send(self.asked)
        code = child.wait()
        self.group = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        with contextlib.suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
        return code


class Execution:
    """One execution of one job."""

    def __init__(self, document: Document, job_file: str, stop: Stop) -> None:
        self.document, self.job_file, self.stop = document, job_file, stop
        identity, self.number, start = identify()
        # The random part keeps apart executions that the ad cannot: a rolled-back queue repeats NumJobStarts.
        self.name = f"{identity['cluster']}.{identity['process']}.{start}-{os.urandom(4).hex()}"
        self.log_folder = os.path.join(document["logs"], self.name)
        self.phase, self.code, self.scratch = "inputs", 0, ""
        self.report: Document = {"version": VERSION, "tag": document.get("tag"), "execution": self.name}
        self.report.update(identity, run=document.get("run"), first_subrun=None, last_subrun=None)
        self.report.update(host=socket.gethostname(), node=node_facts(), started=round(time.time(), 3))
        self.report.update(exit_code=None, exit_signal=None, failed_at=None, error=None)
        self.report.update(cpu_s=0.0, max_rss_kb=0, outputs=[], log=None)

    def run(self) -> int:
        """Do the job, leave log and report whatever happens, and return the exit code."""
        try:
            self.perform()
        except JobError as error:
            self.fail(error)
        except OSError as error:
            self.fail(JobError(self.phase, f"{self.phase} failed: {explain(error)}"))
        except Exception as error:  # noqa: BLE001  a report must be left whatever goes wrong
            self.note(traceback.format_exc())
            self.fail(JobError(self.phase, f"prodsys_job.py itself failed, see the log: {error!r}"))
        self.echo()
        self.leave()
        shutil.rmtree(self.scratch or os.devnull, ignore_errors=True)
        say(f"{self.name}: exit {self.code}: {self.report['error'] or 'all went well'}")
        return self.code

    def fail(self, error: JobError) -> None:
        """Record the failure."""
        self.report.update(failed_at=error.failed_at, error=str(error))
        self.code = error.code
        self.note(f"{error.failed_at}: exit {error.code}: {error}")

    def path(self, name: str) -> str:
        """Return a path in the scratch folder."""
        return os.path.join(self.scratch, name)

    def note(self, line: str) -> None:
        """Add a line of our own to the job's log."""
        if self.scratch:
            with contextlib.suppress(OSError), open(self.path("job.log"), "ab") as stream:
                stream.write(b"prodsys_job: " + os.fsencode(line) + b"\n")

    def perform(self) -> None:
        """Do the job; JobError or OSError if it fails."""
        document, number = self.document, self.number
        self.scratch = tempfile.mkdtemp(prefix="prodsys-", dir=scratch_base())
        for folder in ("work", "out", "log"):
            os.mkdir(self.path(folder))
        unit = unit_of(document, number)
        run, subrun = document["run"], unit["first_subrun"]
        self.report.update(first_subrun=subrun, last_subrun=unit["last_subrun"])
        values = {"run": run, "subrun": subrun, "seed": 1 + run * 100000 + subrun, "process": number}
        names = {item["name"]: fill(item["file_name"], values) for item in document["outputs"]}
        if any(os.path.basename(name) != name or not name for name in names.values()):
            refuse(f"an output's file_name is no plain file name: {', '.join(names.values())}")
        if document["events"] is not None:
            values["events"] = document["events"]
        environment = self.environment(unit, values, names)
        command = self.command(unit, values, self.path(os.path.join("out", next(iter(names.values())))))
        self.phase = "script"
        self.run_script(command, environment)
        self.phase = "outputs"
        self.verify(names)
        self.phase = "outstage"
        self.publish(names)

    def environment(self, unit: Document, values: Document, names: Dict[str, str]) -> Dict[str, str]:
        """Check the inputs, write their lists, and return the script's environment."""
        paths = [path for group in unit["inputs"].values() for path in group]
        for path in paths:
            if "://" not in path:
                with open(path, "rb") as stream:
                    stream.read(1)
        job = self.document
        variables = {f"PRODSYS_{key.upper()}": job[key] for key in ("experiment", "campaign", "stage")}
        variables.update({f"PRODSYS_{key.upper()}": str(values[key]) for key in ("run", "subrun", "seed")})
        variables["PRODSYS_LAST_SUBRUN"] = str(unit["last_subrun"])
        variables["PRODSYS_LOG_DIR"] = self.path("log")
        variables["PRODSYS_EVENTS_FILE"] = self.path("events.txt")
        lists = {"PRODSYS_INPUTS": paths}
        lists.update({variable("PRODSYS_INPUTS", name): group for name, group in unit["inputs"].items()})
        for key, group in lists.items():
            variables[key] = self.path(key.lower() + ".txt")
            with open(variables[key], "wb") as stream:
                stream.write(b"".join(os.fsencode(path) + b"\n" for path in group))
        out = variables["PRODSYS_OUTPUT_DIR"] = self.path("out")
        variables["PRODSYS_OUTPUT"] = os.path.join(out, next(iter(names.values())))
        variables.update({variable("PRODSYS_OUTPUT", key): os.path.join(out, names[key]) for key in names})
        result = {key: value for key, value in os.environ.items() if key != "PRODSYS_EVENTS"}
        if "events" in values:
            variables["PRODSYS_EVENTS"] = str(values["events"])
        return {**result, **{key: str(value) for key, value in job["environment"].items()}, **variables}

    def command(self, unit: Document, values: Document, output: str) -> List[str]:
        """Return the command line to run."""
        merge, inputs = self.document["merge"], [path for group in unit["inputs"].values() for path in group]
        if merge and merge.get("method") == "hadd":
            hadd = shutil.which("hadd")
            if not hadd:
                raise JobError("script", "hadd is not on PATH: set up ROOT in this job", EXIT_NOT_FOUND)
            return [hadd, "-f", output, *inputs]
        if merge:
            return [self.find_script(), output, *inputs]
        arguments = [fill(item, values) for item in self.document["arguments"]]
        return [self.find_script(), *arguments]

    def find_script(self) -> str:
        """Return the path of the script, or of an executable copy if it lost its permission on the way."""
        name = self.document["script"] or refuse("script is null and this is no merge by hadd")
        folder = os.environ.get("CONDOR_DIR_INPUT") or os.path.dirname(self.job_file)
        path = os.path.abspath(os.path.join(folder, name))
        if not os.path.isfile(path):
            raise JobError("script", f"the script {name} is not in {folder or os.getcwd()}", EXIT_NOT_FOUND)
        if os.access(path, os.X_OK):
            return path
        copy = self.path(os.path.basename(path))
        shutil.copyfile(path, copy)
        os.chmod(copy, 0o700)
        return copy

    def run_script(self, command: List[str], environment: Dict[str, str]) -> None:
        """Run the script to its end; JobError unless it went well."""
        asked = self.stop.asked
        if asked:
            raise JobError("script", f"told to stop by signal {asked} before the script started", 128 + asked)
        self.note(f"{self.name} on {self.report['host']}: {' '.join(command)}")
        with open(self.path("job.log"), "ab") as log:
            streams: Document = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            place: Document = {"cwd": self.path("work"), "env": environment, "start_new_session": True}
            try:
                child = subprocess.Popen(command, **streams, **place)
            except OSError as error:
                code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CODES["script"]
                text = f"could not start {command[0]}: {error.strerror}; is its interpreter here?"
                raise JobError("script", text, code) from error
            code = self.stop.wait(child)
        usage, asked = resource.getrusage(resource.RUSAGE_CHILDREN), self.stop.asked
        self.report.update(cpu_s=round(usage.ru_utime + usage.ru_stime, 3), max_rss_kb=usage.ru_maxrss)
        why = f" after this job was told to stop by signal {asked}" if asked else ""
        if code < 0:
            self.report["exit_signal"] = -code
            raise JobError("script", f"the script was killed by signal {-code}{why}", 128 - code)
        self.report["exit_code"] = code
        if code or asked:
            raise JobError("script", f"the script exited with {code}{why}", code or 128 + asked)

    def verify(self, names: Dict[str, str]) -> None:
        """Check that every output is there and not empty."""
        found = sorted(os.listdir(self.path("out")))
        for name, file in names.items():
            path = self.path(os.path.join("out", file))
            if not os.path.isfile(path):
                there = ", ".join(found[:10]) or "nothing"
                raise JobError("outputs", f"output {name}: there is no file {file}; the script left: {there}")
            if not os.path.getsize(path):
                raise JobError("outputs", f"output {name}: {file} is empty")
        extra = sorted(set(found) - set(names.values()))
        if extra:
            self.note(f"no outputs of this stage, not kept: {', '.join(extra[:10])}")

    def events(self) -> Dict[str, int]:
        """Return events by file name, as the script tells them."""
        events: Dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError), open(self.path("events.txt"), "rb") as stream:
            for line in stream:
                match = re.match(r"(.+?)\s+([0-9]+)\s*$", os.fsdecode(line))
                if match:
                    events[match.group(1)] = int(match.group(2))
                elif line.strip():
                    self.note(f"events file: {line!r} is not FILE_NAME EVENTS")
        return events

    def publish(self, names: Dict[str, str]) -> None:
        """Copy the outputs and their manifest to the outstage area, verify, rename the folder to its name."""
        base, events = self.document["outstage"], self.events()
        outputs: List[Document] = []
        part, final = os.path.join(base, f".{self.name}.part"), os.path.join(base, self.name)
        span = {key: self.report[key] for key in ("run", "first_subrun", "last_subrun")}
        try:
            os.makedirs(part)
            for name, file in names.items():
                source = self.path(os.path.join("out", file))
                size, sha256, adler = stream_file(source, os.path.join(part, file))
                outputs.append({"name": name, "file": file, "path": os.path.join(final, file), "size": size})
                outputs[-1].update(span, sha256=sha256, adler32=adler, events=events.get(file))
            keys = ("version", "tag", "execution", "cluster", "process", "schedd", "global_job_id")
            manifest = {**{key: self.report[key] for key in keys}, **span, "outputs": outputs}
            write_json(part, "manifest.json", sealed(manifest))
            os.rename(part, final)
        except (OSError, JobError):
            shutil.rmtree(part, ignore_errors=True)
            raise
        sync_folder(base)
        self.report["outputs"] = outputs

    def echo(self) -> None:
        """Print the head and the tail of the log."""
        out = sys.stdout.buffer
        with contextlib.suppress(OSError), open(self.path("job.log"), "rb") as stream:
            left_out = os.fstat(stream.fileno()).st_size - ECHO_HEAD - ECHO_TAIL
            out.write(stream.read(ECHO_HEAD if left_out > 0 else -1))
            if left_out > 0:
                out.write(f"\nprodsys_job: ... {left_out} bytes left out ...\n".encode())
                stream.seek(-ECHO_TAIL, os.SEEK_END)
                out.write(stream.read())
            out.flush()

    def leave(self) -> None:
        """Archive the log and what is in the log folder; the report comes last, to stdout if it must."""
        try:
            os.makedirs(self.log_folder)
            if self.scratch:
                self.leave_logs()
        except (OSError, JobError) as error:
            say(f"could not archive the log: {error}")
        self.report["ended"] = round(time.time(), 3)
        report = sealed(self.report)
        try:
            write_json(self.log_folder, "report.json", report)
        except OSError as error:
            text = from_json(json.dumps(report, sort_keys=True, ensure_ascii=False))
            say(f"could not write the report: {explain(error)}; here it is: {text}")

    def leave_logs(self) -> None:
        """Copy job.log and what the script left in PRODSYS_LOG_DIR; files with our own names get a prefix."""
        self.note("end of the log")
        target = os.path.join(self.log_folder, "job.log")
        stream_file(self.path("job.log"), target)
        self.report["log"] = target
        for name in sorted(os.listdir(self.path("log"))):
            kept = f"script.{name}" if name in ("job.log", "report.json") else name
            source, target = self.path(os.path.join("log", name)), os.path.join(self.log_folder, kept)
            if os.path.isdir(source):
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copyfile(source, target)


def read_job_file(path: str) -> Document:
    """Return job.json's content; JobError unless it is JSON and says where reports go."""
    try:
        with open(path, "rb") as stream:
            document = from_json(json.loads(stream.read().decode("utf-8")))
    except OSError as error:
        refuse(f"it cannot be read: {explain(error)}")
    except (ValueError, RecursionError) as error:
        refuse(f"{path} is not JSON: {error}")
    require("the file", document, {str: ("logs",)})
    if not os.path.isabs(document["logs"]):
        refuse(f"logs {document['logs']} is not absolute")
    return dict(document)


def run_job(path: str, grace: float) -> int:
    """Do the job that the file describes; return the exit code."""
    stop = Stop(grace)
    if not os.path.exists(path):
        path = os.path.join(os.environ.get("CONDOR_DIR_INPUT", ""), path)
    try:
        document = read_job_file(path)
    except JobError as error:
        say(f"exit {error.code}: {error}")
        return error.code
    return Execution(document, path, stop).run()


def manifest_check(folder: str) -> int:
    """Compare a published folder with its manifest; 0 if all agrees."""
    with open(os.path.join(folder, "manifest.json"), "rb") as stream:
        manifest = json.loads(stream.read().decode("utf-8"))
    good = bool(manifest["selfcheck"] == hashlib.sha256(canonical(manifest)).hexdigest())
    if not good:
        say(f"{folder}: manifest.json does not agree with its selfcheck")
    for output in manifest["outputs"]:
        size, sha256, adler = stream_file(os.path.join(folder, from_json(output["file"])))
        same = (size, sha256, adler) == (output["size"], output["sha256"], output["adler32"])
        good = good and same
        word = "agrees" if same else "DIFFERS from the manifest"
        say(f"{from_json(output['file'])}: {word}: {size} bytes, adler32 {adler}")
    return 0 if good else 1


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; return the exit code."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="prodsys_job.py", description=__doc__, formatter_class=form)
    parser.add_argument("command", choices=["run", "manifest-check", "node-probe", "adler32"])
    parser.add_argument("file", nargs="?", default="job.json", metavar="FILE")
    parser.add_argument("--grace", type=float, default=20.0, help="seconds from a signal to SIGKILL (20)")
    options = parser.parse_args(arguments)
    if options.command == "run":
        return run_job(options.file, options.grace)
    try:
        if options.command == "manifest-check":
            return manifest_check(options.file)
        facts = to_json(node_facts()) if options.command == "node-probe" else None
        print(json.dumps(facts, indent=1, sort_keys=True) if facts else stream_file(options.file)[2])
    except OSError as error:
        say(explain(error))
        return 1
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        say(f"{options.file}: manifest.json is damaged: {error!r}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
