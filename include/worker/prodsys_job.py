#!/usr/bin/env python3
"""What runs on the worker node: one file, standard library only, Python 3.6 or newer; docs/job-contract.md.

run job.json                        do the job that job.json describes, leave outputs, log and report
cvmfs-check REPO[:MIN_REVISION]...  exit 0 if CVMFS is fit on this node, else 85, after a pause
node-probe [REPO...]                print what is known of this node, as JSON
stage-out FILE... DESTINATION       copy, read back, rename; print size, adler32 and path
manifest-check DIR                  compare the files of a published folder with its manifest
adler32 FILE                        print a file's adler32, 8 hex digits

Each can be used alone; COMMAND --help tells its options, docs/worker-tools.md has examples.
"""

import argparse
import contextlib
import errno
import hashlib
import itertools
import json
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import string
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import zlib
from typing import Any, Callable, Dict, Iterable, List, NoReturn, Optional, Tuple
from urllib import parse

VERSION = 1
EXIT_CODES = {"inputs": 81, "script": 126, "outputs": 82, "outstage": 83, "node": 85}
EXIT_USAGE, EXIT_JOB_FILE, EXIT_NOT_FOUND = 2, 84, 127
# A script that ends so at once is more often its node's fault than its own: it cannot be started or found,
# its machine code is not this CPU's, or the file system below it went away.
NODE_LIKE = (EXIT_CODES["script"], EXIT_NOT_FOUND, 128 + signal.SIGILL, 128 + signal.SIGBUS)
CVMFS_ROOT = os.environ.get("PRODSYS_CVMFS_ROOT") or "/cvmfs"
REPOSITORY = re.compile(r"(\w[\w.-]*)(?::([0-9]{1,18}))?$")
GUARD_S, LEAST_S, LOOK_S, MAX_GUARD_S, MAX_SECONDS = 180.0, 6.0, 20.0, 86400.0, 1e9
BLOCK, ECHO_HEAD, ECHO_TAIL = 1 << 20, 16 << 10, 64 << 10
MAX_FACTS, MAX_FACT, MAX_LOOKS, MAX_ENTRIES, MAX_WORDS = 8000, 200, 64, 1000, 20
# The log server: one post's bytes of log, the most that is sent late, the pauses between posts, time limits.
PIECE, MOST_BEHIND, FIRST_PAUSE_S, LONGEST_PAUSE_S, HEARTBEAT_S = 64 << 10, 256 << 10, 2.0, 30.0, 60.0
ANSWER_S, LAST_S, AFTER_FAILURE_S = 5.0, 5.0, 300.0
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


def tell(line: str) -> None:
    """Print one line; a stdout that nobody reads is no reason to fail."""
    with contextlib.suppress(OSError):
        sys.stdout.buffer.write(os.fsencode(line) + b"\n")
        sys.stdout.buffer.flush()


def say(line: str) -> None:
    """Print one line of our own."""
    tell("prodsys_job: " + line)


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
    """Return the literal attributes of an ad's file, names in lower case; empty where there is no ad."""
    ad: Dict[str, str] = {}
    with contextlib.suppress(OSError), open(path or os.devnull, "rb") as stream:
        for match in re.finditer(r"^(\w+) = (.*?)\s*$", os.fsdecode(stream.read()), re.MULTILINE):
            value = match.group(2)
            quoted = len(value) > 1 and value[0] == value[-1] == '"'
            if value.lower() not in ("undefined", "error"):
                ad[match.group(1).lower()] = value[1:-1].replace('\\"', '"') if quoted else value
    return ad


def identify(first_unit: int) -> Tuple[Document, int, int]:
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
        "site": glidein()["site"],
    }
    # jobsub sets JOBSUBJOBSECTION to the process number, except in a DAG, where each job is process 0.
    unit = number(get("PROCESS"), str(identity["process"])) or number(get("JOBSUBJOBSECTION"))
    return identity, first_unit + unit, number(ad.get("numjobstarts"))


def scratch_base() -> str:
    """Return the folder that scratch folders are made in."""
    return os.environ.get("_CONDOR_SCRATCH_DIR") or os.environ.get("TMPDIR") or os.getcwd()


def glidein() -> Document:
    """Return where the batch system says that this job runs; null for what nobody says."""
    get = os.environ.get
    job, machine = read_ad(get("_CONDOR_JOB_AD")), read_ad(get("_CONDOR_MACHINE_AD"))
    told = {"site": job.get("match_glidein_site"), "slot": machine.get("name")}
    for key, name in (("site", "Site"), ("glidein", "Name"), ("entry", "Entry_Name"), ("factory", "Factory")):
        told[key] = told.get(key) or get("GLIDEIN_" + name) or machine.get("glidein_" + name.lower())
    return {key: value and value[:MAX_FACT] for key, value in told.items()}


def node_name() -> str:
    """Return this node's name as the pool has it, `slot1@glidein@NODE`; its own where no ad tells."""
    return ((glidein()["slot"] or "").split("@")[-1] or socket.gethostname())[:MAX_FACT]


def mounted() -> List[str]:
    """Return the repositories that are mounted; those that autofs would mount are not among them."""
    names = re.compile(rf"^\S+ {re.escape(CVMFS_ROOT)}/([^/\s]+)[/\s]", re.MULTILINE)
    with contextlib.suppress(OSError), open("/proc/mounts", "rb") as stream:
        return sorted(set(names.findall(os.fsdecode(stream.read()))))[:MAX_LOOKS]
    return []


def look_at(path: str) -> Document:
    """Return a repository's revision and what is wrong with it; a CVMFS that hangs hangs this call."""
    look: Document = {"revision": None, "problem": None}
    try:
        with os.scandir(path) as listing:
            entries = list(itertools.islice(listing, MAX_ENTRIES))
        files = [each for each in entries if not each.is_symlink() and not each.is_dir(follow_symlinks=False)]
        for file in files[:1]:  # a folder can come out of the cache while no file can be fetched
            with contextlib.suppress(PermissionError), open(file.path, "rb") as stream:
                stream.read(1)
        if not entries:
            look["problem"] = "is not mounted: the folder is empty"
    except FileNotFoundError:
        look["problem"] = "is not mounted: there is no such folder"
    except OSError as error:
        look["problem"] = f"cannot be read: {explain(error)}"[:MAX_FACT]
    with contextlib.suppress(OSError, ValueError):
        look["revision"] = int(os.getxattr(path, "user.revision")[:20])
    return look


def look_in_child(path: str) -> Tuple[int, int]:
    """Start a process that looks at a repository; return its id and the pipe that it writes JSON to."""
    reader, writer = os.pipe()
    child = os.fork()
    if child:
        os.close(writer)
        os.set_blocking(reader, False)
        return child, reader
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        # Less than PIPE_BUF bytes: they arrive as a whole, or not at all.
        os.write(writer, json.dumps(to_json(look_at(path))).encode("ascii"))
    finally:
        os._exit(0)


def look_at_cvmfs(names: Iterable[str], seconds: float, stop: Optional["Stop"] = None) -> Dict[str, Document]:
    """Return revision and problem of each repository, in `seconds` at most, however CVMFS hangs."""
    children, looks = {}, {}
    deadline = time.monotonic() + seconds
    for name in dict.fromkeys(names):
        looks[name] = {"revision": None, "problem": "could not be looked at: no process could be started"}
        with contextlib.suppress(OSError):
            children[name] = look_in_child(os.path.join(CVMFS_ROOT, name))
    for name, (child, reader) in children.items():
        pipe = select.poll()  # select.select() ends at file number 1023
        pipe.register(reader, select.POLLIN)
        while not pipe.poll(1000 * max(0.0, min(0.1, deadline - time.monotonic()))):
            if time.monotonic() >= deadline or (stop and stop.asked):
                break
        try:
            looks[name] = json.loads(os.read(reader, 4096).decode("ascii"))
        except (BlockingIOError, ValueError):
            why = f"did not answer within {seconds:g} s"
            looks[name]["problem"] = "was not looked at to the end" if stop and stop.asked else why
        os.close(reader)
        # One that waits for a dead file system may outlive even SIGKILL: nobody waits for it.
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, os.WNOHANG)
    return looks


def node_facts(looks: Dict[str, Document]) -> Document:
    """Return what is known of this node, in 8 kB of JSON at most; it asks nothing that could hang."""
    facts: Document = {"host": node_name(), "kernel": os.uname().release[:MAX_FACT]}
    facts.update(glidein(), python=sys.version.split()[0], cpus=len(os.sched_getaffinity(0)))
    facts["memory_mb"] = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) >> 20
    facts.update(load_1min=None, scratch_free_mb=None, cvmfs={}, cvmfs_left_out=0)
    with contextlib.suppress(OSError):
        facts["load_1min"] = round(os.getloadavg()[0], 2)
        facts["scratch_free_mb"] = shutil.disk_usage(scratch_base()).free >> 20
    for name in sorted(looks, key=lambda name: looks[name]["problem"] is None):
        facts["cvmfs"][name] = looks[name]
        if len(json.dumps(to_json(facts))) > MAX_FACTS:
            del facts["cvmfs"][name]
            facts["cvmfs_left_out"] += 1
    return facts


def shortfall(name: str, least: int, look: Document) -> str:
    """Say what a repository lacks on this node; empty where it is fit."""
    problem, revision = look["problem"], look["revision"]
    if not problem and least > (revision or 0):
        is_at = "does not tell its revision" if revision is None else f"is at revision {revision}"
        problem = f"{is_at}, at least {least} is wanted"
    return f"{os.path.join(CVMFS_ROOT, name)} {problem}" if problem else ""


def adler_of(path: str, go_on: Callable[[], None] = lambda: None) -> str:
    """Return a file's adler32; `go_on` is called before each block, and may raise."""
    adler = 1
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(BLOCK), b""):
            go_on()
            adler = zlib.adler32(block, adler)
    return f"{adler & 0xFFFFFFFF:08x}"


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
MAY_BE_NULL = ("script", "events", "merge", "scratch_mb")


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


def wish_of(document: Document) -> Document:
    """Return what the job wants of its node, empty if it has no `node`; refuse job.json if that is wrong."""
    if document.get("node") is None:
        return {}
    require("the file", document, {dict: ("node",)})
    wish = {"cvmfs": {}, "scratch_mb": None, "guard_s": GUARD_S, **document["node"]}
    require("node", wish, {dict: ("cvmfs",), int: ("scratch_mb",)})
    for name, least in wish["cvmfs"].items():
        if not REPOSITORY.match(name) or ":" in name or type(least) is not int:
            refuse(f"cvmfs of node: {name!r:.80}: {least!r:.40} is no repository with a revision, or 0")
    if type(wish["guard_s"]) not in (int, float) or not 0 <= wish["guard_s"] <= MAX_SECONDS:
        refuse(f"guard_s of node is {wish['guard_s']!r:.40}, it should be seconds, 0 or more")
    return wish


def parsed(what: str, value: Any) -> Any:
    """Return a JSON text's content, and what is no text as it is; refuse job.json if the text is no JSON."""
    try:
        return from_json(json.loads(value.decode("utf-8"))) if isinstance(value, bytes) else value
    except (ValueError, RecursionError) as error:
        refuse(f"{what} is not JSON: {error}")


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
    if not 0 <= number < len(document["units"]):
        refuse(f"process {number} has no unit, there are {len(document['units'])}")
    unit: Document = parsed(f"unit {number}", document["units"][number])
    require(f"unit {number}", unit, {int: ("first_subrun", "last_subrun"), dict: ("inputs",)})
    for name, paths in unit["inputs"].items():
        if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
            refuse(f"input {name} of unit {number} is not a list of paths")
    unit["sums"] = unit.get("sums") or {}
    require(f"unit {number}", unit, {dict: ("sums",)})
    for path, known in unit["sums"].items():
        if not isinstance(known, list) or list(map(type, known)) != [int, str]:
            refuse(f'sums of unit {number}: {path}: {known!r:.80} is no [SIZE, "ADLER32"]')
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

    def __init__(self, grace: float = 0.0) -> None:
        self.asked, self.grace, self.group = 0, grace, 0
        self.begun = time.monotonic()
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

    def guard(self, seconds: float, why: str, note: Callable[[str], None]) -> None:
        """Wait until this program has taken `seconds` in all, or is asked to stop, and note why.

        A node that fails its jobs at once gets the next one at once: in an hour it would eat a whole cluster.
        """
        end = self.begun + min(seconds, MAX_GUARD_S)
        left = end - time.monotonic()
        if left > 0 and not self.asked:
            note(f"{why}: waiting {left:.0f} s, {seconds:g} s in all, so that it does not fail job after job")
        while left > 0 and not self.asked:
            time.sleep(min(0.1, left))
            left = end - time.monotonic()
        if left > 0:
            note(f"told to stop by signal {self.asked}: waiting no longer")

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


class NotTaken(Exception):
    """The log server refuses for good, or cannot be posted to at all."""


class Full(NotTaken):
    """The log server takes no more text of this submission."""


class LogSender(threading.Thread):
    """Sends the log to the log server as it grows; what goes wrong costs one line of the log."""

    def __init__(self, target: Document, log: str, facts: Document, note: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.target, self.log, self.facts, self.note = target, log, facts, note
        self.over = threading.Event()
        self.end: Optional[Document] = None
        self.offset, self.failures, self.posted = 0, 0, 0.0
        self.greeted, self.complained, self.full = False, False, False

    def run(self) -> None:
        """Post what is new until the job is over, then the rest."""
        try:
            pause = FIRST_PAUSE_S
            while not self.over.wait(pause * random.uniform(0.7, 1.0)):  # noqa: S311  it only spreads posts
                pause = self.send(pause)
            self.send(pause)
        except Exception as error:  # noqa: BLE001  whatever it is, the job goes on
            self.complain(f"{error}" if isinstance(error, NotTaken) else f"{error!r}")

    def finish(self, end: Document) -> None:
        """Tell how the job ended; take some seconds at most, and next to none if the server is away."""
        self.end = end
        self.over.set()
        self.join(0.5 if self.failures else LAST_S)

    def complain(self, why: str) -> None:
        """Say it once."""
        if not self.complained:
            self.note(f"the log server did not take this log, the job goes on without: {why[:MAX_FACT]}")
        self.complained = True

    def send(self, pause: float) -> float:
        """Post what is new; return the seconds to wait until the next time."""
        try:
            for _ in range(MOST_BEHIND // PIECE + 2):
                if not self.post():
                    break
        except (OSError, ValueError, LookupError) as error:
            self.failures += 1
            self.complain(explain(error) if isinstance(error, OSError) else repr(error))
            return min(AFTER_FAILURE_S, pause * 2)
        self.failures = 0
        return min(LONGEST_PAUSE_S, pause * 1.5)

    def post(self) -> bool:
        """Post one piece; return whether there may be more."""
        end, size = self.end, os.path.getsize(self.log)
        self.offset = max(self.offset, size - MOST_BEHIND)
        data = b"" if self.full else self.piece(end)
        last = end and (self.full or self.offset + len(data) >= size)
        if not (data or last or time.monotonic() > self.posted + HEARTBEAT_S):
            return False
        head: Document = {
            "version": 1,
            "execution": self.facts["execution"],
            "offset": self.offset,
            "size": size,
        }
        if not self.greeted:
            head["facts"] = {key: value for key, value in self.facts.items() if key != "execution"}
        if last:
            head["end"] = end
        try:
            have = self.request(json.dumps(to_json(head)).encode("ascii") + b"\n" + data)
        except Full as error:
            if not data:
                raise
            self.full = True
            self.complain(str(error))
            return True
        self.offset = max(self.offset + len(data), min(have, size))
        self.posted, self.greeted = time.monotonic(), True
        return not last and self.offset < size and len(data) > 0

    def piece(self, end: Optional[Document]) -> bytes:
        """Return what is new: until the end whole lines, unless one is very long, or takes long."""
        with open(self.log, "rb") as stream:
            stream.seek(self.offset)
            data = stream.read(PIECE)
        if end and len(data) < PIECE:
            return data
        late = len(data) == PIECE or time.monotonic() > self.posted + LONGEST_PAUSE_S
        return data[: data.rfind(b"\n") + 1] or (data if late else b"")

    def request(self, body: bytes) -> int:
        """Return the offset that the server has after a post; OSError to try again, NotTaken to give up."""
        from http import client  # jobs without a log server need not load it

        place = parse.urlsplit(self.target["url"])
        if place.scheme not in ("http", "https") or not place.hostname:
            raise NotTaken("its address is neither http nor https")
        # Not through $http_proxy: worker nodes have a cache for CVMFS there.
        more = {"context": tls_context()} if place.scheme == "https" else {}
        kind: Any = client.HTTPSConnection if more else client.HTTPConnection
        with contextlib.closing(kind(place.hostname, place.port, timeout=ANSWER_S, **more)) as connection:
            headers = {"Authorization": "Bearer " + self.target["token"], "Connection": "close"}
            try:
                connection.request("POST", place.path.rstrip("/") + "/v1/post", body, headers)
                answer = connection.getresponse()
                text = answer.read(4096).decode("utf-8", "replace")
            except client.HTTPException as error:
                raise OSError(f"it does not speak HTTP: {error!r}") from error
        if answer.status == 200:
            return int(json.loads(text)["offset"])
        if answer.status in (408, 429) or answer.status >= 500:
            raise OSError(f"it answers {answer.status}, later perhaps more")
        raise (Full if answer.status == 413 else NotTaken)(f"it answers {answer.status}: {text!r}")


def tls_context() -> Any:
    """Return what verifies the log server: the system's authorities and the grid's."""
    import ssl

    context, grid = ssl.create_default_context(), os.environ.get("X509_CERT_DIR")
    if grid and os.path.isdir(grid):
        context.load_verify_locations(capath=grid)
    return context


class Execution:
    """One execution of one job."""

    def __init__(self, document: Document, job_file: str, stop: Stop, options: argparse.Namespace) -> None:
        self.document, self.job_file, self.stop, self.look_s = document, job_file, stop, options.look
        self.wish: Document = {}
        identity, self.number, start = identify(options.first_unit)
        # The random part keeps apart executions that the ad cannot: a rolled-back queue repeats NumJobStarts.
        self.name = f"{identity['cluster']}.{identity['process']}.{start}-{os.urandom(4).hex()}"
        self.log_folder = os.path.join(document["logs"], self.name)
        self.phase, self.code, self.scratch = "inputs", 0, ""
        self.sender: Optional[LogSender] = None
        self.report: Document = {"version": VERSION, "tag": document.get("tag"), "execution": self.name}
        self.report.update(identity, run=document.get("run"), first_subrun=None, last_subrun=None)
        self.report.update(host=node_name(), node={}, started=round(time.time(), 3))
        self.report.update(exit_code=None, exit_signal=None, failed_at=None, error=None)
        self.report.update(cpu_s=0.0, max_rss_kb=0, outputs=[], log=None)

    def run(self) -> int:
        """Do the job, leave log and report whatever happens, and return the exit code."""
        try:
            self.perform()
        except JobError as error:
            self.fail(error)
        except OSError as error:
            what = f"node {self.report['host']}: scratch area" if self.phase == "node" else self.phase
            self.fail(JobError(self.phase, f"{what} failed: {explain(error)}"))
        except Exception as error:  # noqa: BLE001  a report must be left whatever goes wrong
            self.note(traceback.format_exc())
            self.fail(JobError(self.phase, f"prodsys_job.py itself failed, see the log: {error!r}"))
        self.guard()
        if self.sender:
            self.sender.finish(
                {"exit_code": self.code, **{k: self.report[k] for k in ("failed_at", "error")}}
            )
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

    def guard(self) -> None:
        """Hold on to the node for a while if it seems to be what made the job fail."""
        failed_at = self.report["failed_at"]
        if self.wish and (failed_at == "node" or (failed_at == "script" and self.code in NODE_LIKE)):
            note = self.note if self.scratch else say
            self.stop.guard(self.wish["guard_s"], f"exit {self.code} looks like this node's fault", note)

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
        self.phase = "inputs" if document.get("node") is None else "node"
        try:
            self.make_scratch()
        finally:  # the report tells of node and subruns although there is no scratch folder
            looks, unit = self.prepare()
        self.send_log()
        self.check_node(looks)
        self.phase = "inputs"
        run, subrun = document["run"], unit["first_subrun"]
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

    def make_scratch(self) -> None:
        """Make the scratch folder and write the log's first line there."""
        self.scratch = tempfile.mkdtemp(prefix="prodsys-", dir=scratch_base())
        for folder in ("work", "out", "log"):
            os.mkdir(self.path(folder))
        with open(self.path("job.log"), "ab") as stream:
            stream.write(os.fsencode(f"prodsys_job: {self.name} on {self.report['host']}\n"))

    def prepare(self) -> Tuple[Dict[str, Document], Document]:
        """Return what CVMFS looks like and this process's unit, and put node and subruns into the report."""
        self.wish = wish_of(self.document)
        looks = look_at_cvmfs([*self.wish.get("cvmfs", ()), *mounted()], self.look_s, self.stop)
        self.report["node"] = node_facts(looks)
        unit = unit_of(self.document, self.number)
        self.report.update(first_subrun=unit["first_subrun"], last_subrun=unit["last_subrun"])
        return looks, unit

    def send_log(self) -> None:
        """Send the log from now on, if there is a log server; nothing forks this process any more."""
        target = self.document.get("log_server")
        if target:
            keys = ("execution", "cluster", "process", "schedd", "global_job_id", "host", "site", "node")
            facts = {key: self.report[key] for key in (*keys, "first_subrun", "last_subrun")}
            sender = LogSender(target, self.path("job.log"), facts, self.note)
            try:
                sender.start()
            except RuntimeError as error:  # a node's limit of processes counts threads too
                sender.complain(str(error))
            else:
                self.sender = sender

    def check_node(self, looks: Dict[str, Document]) -> None:
        """Raise JobError unless the node has what the job wants of it."""
        self.check_stop()
        wanted, free = self.wish.get("scratch_mb"), self.report["node"]["scratch_free_mb"]
        lacks = [shortfall(name, least, looks[name]) for name, least in self.wish.get("cvmfs", {}).items()]
        if wanted and (free is None or free < wanted):
            lacks.append(f"the scratch area {scratch_base()} has {free} MB free, {wanted} are wanted")
        if any(lacks):
            text = "; ".join(filter(None, lacks))
            raise JobError("node", f"node {self.report['host']} is not fit: {text}")

    def check_stop(self) -> None:
        """Raise JobError if this job was told to stop before its script started."""
        asked = self.stop.asked
        if asked:
            raise JobError("script", f"told to stop by signal {asked} before the script started", 128 + asked)

    def check_inputs(self, unit: Document) -> List[str]:
        """Return the paths of all inputs; OSError or JobError unless each can be read and is what it was."""
        paths = [path for group in unit["inputs"].values() for path in group]
        for path in [path for path in paths if "://" not in path]:
            if os.path.exists(path) and not os.path.isfile(path):  # opening a FIFO would hang
                raise JobError("inputs", f"input {path} is no regular file")
            with open(path, "rb") as stream:
                stream.read(1)
                size = os.fstat(stream.fileno()).st_size
            known_size, known = unit["sums"].get(path, (None, None))
            if known is None:
                continue
            adler = adler_of(path, self.check_stop) if size == known_size else "(not read)"
            if adler != known:
                text = f"has adler32 {adler} and {size} bytes, the ledger says {known} and {known_size}"
                raise JobError("inputs", f"input {path} {text}: it was changed after it was accepted")
        return paths

    def environment(self, unit: Document, values: Document, names: Dict[str, str]) -> Dict[str, str]:
        """Check the inputs, write their lists, and return the script's environment."""
        paths = self.check_inputs(unit)
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
        """Return the command line to run; hadd gets its inputs as a list, whose length has no limit."""
        merge, inputs = self.document["merge"], [path for group in unit["inputs"].values() for path in group]
        if merge and merge.get("method") == "hadd":
            hadd = shutil.which("hadd")
            if not hadd:
                raise JobError("script", "hadd is not on PATH: set up ROOT in this job", EXIT_NOT_FOUND)
            return [hadd, "-f", output, "@" + self.path("prodsys_inputs.txt")]
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
        self.check_stop()
        more = f" … and {len(command) - MAX_WORDS} more" if len(command) > MAX_WORDS else ""
        self.note(f"{self.name} on {self.report['host']}: {' '.join(command[:MAX_WORDS])}{more}")
        with open(self.path("job.log"), "ab") as log:
            streams: Document = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": subprocess.STDOUT}
            place: Document = {"cwd": self.path("work"), "env": environment, "start_new_session": True}
            try:
                child = subprocess.Popen(command, **streams, **place)
            except OSError as error:
                code = EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CODES["script"]
                text = f"{error.strerror}; is its interpreter here?"
                if error.errno == errno.E2BIG:
                    size = sum(len(os.fsencode(word)) + 1 for word in command)
                    text = f"its {len(command) - 1} arguments have {size} bytes, more than this node takes"
                text = f"could not start {command[0]}: {text}"
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


# What is before and after the units in a job.json that has each on a line of its own.
BEFORE_UNITS, AFTER_UNITS = b'\n "units": [\n', b"\n ]\n}\n"


def read_job_file(path: str) -> Document:
    """Return job.json's content; JobError unless it is JSON and says where reports go.

    Units that have a line each stay as they are: parsing 10,000 for one job would take longer than all else.
    """
    try:
        with open(path, "rb") as stream:
            text = stream.read()
    except OSError as error:
        refuse(f"it cannot be read: {explain(error)}")
    head, mark, units = text.partition(BEFORE_UNITS)
    each_a_line = bool(mark) and units.endswith(AFTER_UNITS)
    document = parsed(path, head + mark + b"]}" if each_a_line else text)
    if each_a_line:
        document["units"] = units[: -len(AFTER_UNITS)].split(b",\n")
    require("the file", document, {str: ("logs",)})
    if not os.path.isabs(document["logs"]):
        refuse(f"logs {document['logs']} is not absolute")
    return dict(document)


def run_job(options: argparse.Namespace) -> int:
    """Do the job that job.json describes, leave outputs, log and report; a failure is never too quick."""
    stop = Stop(options.grace)
    code = do_job(options, stop)
    if code:
        stop.guard(options.least, "failed", say)
    return code


def do_job(options: argparse.Namespace, stop: Stop) -> int:
    """Do the job, and return the exit code."""
    path, sent = options.file, os.environ.get("CONDOR_DIR_INPUT")
    if not os.path.exists(path):
        path = os.path.join(sent or "", path)
    try:
        document = read_job_file(path)
    except JobError as error:
        say(f"exit {error.code}: {error}")
        if sent and not os.path.exists(path):
            stop.guard(options.guard, "nothing was brought to this node", say)
        return error.code
    return Execution(document, path, stop, options).run()


def repository(text: str) -> Tuple[str, int]:
    """Return name and least revision of REPO or REPO:MIN_REVISION."""
    match = REPOSITORY.match(text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text} is not REPO or REPO:MIN_REVISION, like cms.cern.ch:12")
    return match.group(1), int(match.group(2) or 0)


def span(text: str) -> float:
    """Return a time in seconds: finite and not negative."""
    if not 0 <= float(text) <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"{text} is no time in seconds, 0 to {MAX_SECONDS:g}")
    return float(text)


def cvmfs_check(options: argparse.Namespace) -> int:
    """Exit 0 if CVMFS is fit on this node, else 85, after a pause."""
    stop, wanted, host = Stop(), dict(options.repositories), node_name()
    looks = look_at_cvmfs(wanted, options.look, stop)
    if stop.asked:
        return 128 + stop.asked
    lacks = {name: shortfall(name, least, looks[name]) for name, least in wanted.items()}
    fit = not any(lacks.values())
    for name, look in looks.items():
        if not options.json:
            say(lacks[name] or f"{os.path.join(CVMFS_ROOT, name)} is fit, at revision {look['revision']}")
        look.update(wanted=wanted[name], problem=lacks[name] or None)
    if options.json:
        tell(json.dumps(to_json({"fit": fit, "host": host, "cvmfs": looks}), sort_keys=True))
    if fit:
        return 0
    stop.guard(options.guard, f"node {host} is not fit", (lambda _: None) if options.json else say)
    return EXIT_CODES["node"]


def node_probe(options: argparse.Namespace) -> int:
    """Print what is known of this node, as JSON."""
    looks = look_at_cvmfs([*dict(options.repositories), *mounted()], options.look)
    tell(json.dumps(to_json(node_facts(looks)), indent=1, sort_keys=True))
    return 0


def stage_one(source: str, target: str) -> Tuple[int, str]:
    """Copy one file, verified, to a name that is free or holds the same content; return size and adler32."""
    folder, name = os.path.split(target)
    part = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.part")
    try:
        sums = stream_file(source, part)
        try:
            os.link(part, target)  # unlike a rename, it never replaces a file
        except OSError:
            if not os.path.lexists(target):  # this storage has no hard links
                os.rename(part, target)
            elif stream_file(target) != sums:
                text = f"{target} is there with another content, and nothing is overwritten"
                raise JobError("outstage", text) from None
    finally:
        with contextlib.suppress(OSError):
            os.unlink(part)
    sync_folder(folder)
    return sums[0], sums[2]


def stage_out(options: argparse.Namespace) -> int:
    """Copy, read back, rename; print size, adler32 and path."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    destination, code = options.destination, 0
    if "://" in destination:
        say(f"{destination} is a URL, this writes to paths: use ifdh cp, xrdcp --cksum or gfal-copy -K")
        return EXIT_USAGE
    if destination.endswith("/") or len(options.files) > 1:
        os.makedirs(destination, exist_ok=True)
    for source in options.files:
        target = os.path.abspath(destination)
        if os.path.isdir(target):
            target = os.path.join(target, os.path.basename(source))
        try:
            tell("{} {} {}".format(*stage_one(source, target), target))
        except (OSError, JobError) as error:
            say(f"{source} was not staged out: {explain(error) if isinstance(error, OSError) else error}")
            code = EXIT_CODES["outstage"]
    return code


def manifest_check(options: argparse.Namespace) -> int:
    """Compare the files of a published folder with its manifest."""
    folder, good = options.folder, True
    try:
        with open(os.path.join(folder, "manifest.json"), "rb") as stream:
            manifest = json.loads(stream.read().decode("utf-8"))
        if manifest["selfcheck"] != hashlib.sha256(canonical(manifest)).hexdigest():
            say(f"{folder}: manifest.json does not agree with its selfcheck")
            good = False
        for output in manifest["outputs"]:
            size, sha256, adler = stream_file(os.path.join(folder, from_json(output["file"])))
            same = (size, sha256, adler) == (output["size"], output["sha256"], output["adler32"])
            good = good and same
            word = "agrees" if same else "DIFFERS from the manifest"
            say(f"{from_json(output['file'])}: {word}: {size} bytes, adler32 {adler}")
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        say(f"{folder}: manifest.json is damaged: {error!r}")
        return 1
    return 0 if good else 1


def adler32(options: argparse.Namespace) -> int:
    """Print a file's adler32, 8 hex digits."""
    tell(adler_of(options.file))
    return 0


def parser_of() -> argparse.ArgumentParser:
    """Return the command line's grammar; each command is a function, and its docstring the help."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="prodsys_job.py", description=__doc__, formatter_class=form)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True  # Python 3.6 takes it no other way

    def command(name: str, do: Callable[[argparse.Namespace], int], *arguments: Tuple[str, Document]) -> None:
        one = commands.add_parser(name, help=do.__doc__, description=do.__doc__)
        one.set_defaults(do=do)
        for flag, more in arguments:
            one.add_argument(flag, **more)

    def seconds(flag: str, default: float, text: str) -> Tuple[str, Document]:
        text += f" ({default:g})"
        return flag, {"type": span, "default": default, "metavar": "SECONDS", "help": text}

    look = seconds("--look", LOOK_S, "that CVMFS may take to answer")
    in_json = "--json", {"action": "store_true", "help": "print one JSON object"}
    job_file = "file", {"nargs": "?", "default": "job.json", "help": "found in $CONDOR_DIR_INPUT too"}
    grace = seconds("--grace", 20.0, "from a signal to SIGKILL")
    guard = seconds("--guard", GUARD_S, "that it takes in all if job.json was not sent along")
    least = seconds("--least", LEAST_S, "that a failure takes in all: what ends sooner did not run here")
    first = "--first-unit", {"type": int, "default": 0, "metavar": "N", "help": "unit of process 0 (0)"}
    command("run", run_job, job_file, grace, guard, look, least, first)
    wanted = "repositories", {"nargs": "+", "metavar": "REPO[:MIN_REVISION]", "type": repository}
    guard = seconds("--guard", GUARD_S, "that it takes in all if the node is bad")
    command("cvmfs-check", cvmfs_check, wanted, guard, look, in_json)
    asked = "repositories", {"nargs": "*", "metavar": "REPO", "type": repository}
    command("node-probe", node_probe, asked, look, in_json)
    files, target = ("files", {"nargs": "+", "metavar": "FILE"}), ("destination", {"metavar": "DESTINATION"})
    command("stage-out", stage_out, files, target)
    command("manifest-check", manifest_check, ("folder", {"metavar": "DIR"}))
    command("adler32", adler32, ("file", {"metavar": "FILE"}))
    return parser


def main(arguments: Optional[List[str]] = None) -> int:
    """Run one command; return the exit code."""
    options = parser_of().parse_args(arguments)
    try:
        return int(options.do(options))
    except OSError as error:
        say(explain(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
