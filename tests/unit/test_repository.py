"""The repository's own rules: what a reviewer would otherwise have to look for in every change."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import tomllib
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 40
# Goes to the worker nodes alone, so it cannot be split.
LONGER_FILES = {"include/worker/prodsys_job.py": 1140}
# A migration lists tables, and is never edited once released.
MIGRATIONS = "include/bookkeeping/migrations/versions/*.py"
PRODUCT = ("include", "plugins", "embedded", "scripts")
SHEBANG = b"#!"
# A path of one machine, or an option that names a package index. /home/OWNER and the like in prose are fine.
MACHINE = re.compile(
    r"""(?<![\w.$}])/(?:root|work|Users)/[\w.]|(?<![\w.$}])/home/[a-z]\w*"""
    r"""|--(?:extra-)?index-url[ =]+\w+:|--find-links[ =]+\S|--trusted-host[ =]+\S"""
)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;]+)", re.MULTILINE)


@cache
def repository_files() -> tuple[Path, ...]:
    """Return what is, or would be, in git; in an unpacked archive, everything that is not made by a tool."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if listing.returncode == 0:
        found = [ROOT / name for name in os.fsdecode(listing.stdout).split("\0") if name]
    else:
        made = {".prodsys", ".git", "__pycache__", "dist", ".hypothesis"}
        found = [
            path for path in ROOT.rglob("*")
            if not any(part in made or part.endswith("_cache") for part in path.relative_to(ROOT).parts)
            and not fnmatch(str(path.relative_to(ROOT)), "dags/*/*")
        ]  # fmt: skip
    return tuple(sorted(path for path in found if path.is_file()))


def text_files(*suffixes: str) -> list[Path]:
    """Return the repository's files with one of the suffixes, or all that are text."""
    if suffixes:
        return [path for path in repository_files() if path.suffix in suffixes]
    return [path for path in repository_files() if b"\0" not in path.read_bytes()]


def name(path: Path) -> str:
    """Return a path as the repository's reader knows it."""
    return str(path.relative_to(ROOT))


def read(path: Path | str) -> str:
    """Return a file's text."""
    return (ROOT / path).read_text(encoding="utf-8")


def pins(lock: str) -> dict[str, str]:
    """Return package → version of a compiled file; of several versions with markers, the last."""
    return {package.lower().replace("_", "-"): version for package, version in PIN.findall(read(lock))}


def named(requirement_lines: list[str]) -> set[str]:
    """Return the package names of requirement lines."""
    wanted = [line.split("#")[0].strip() for line in requirement_lines]
    return {re.split(r"[\[<>=!~; ]", line)[0].lower() for line in wanted if line and not line.startswith("-")}


def test_no_file_is_long() -> None:
    lengths = {name(path): read(path).count("\n") for path in text_files(".py", ".sh")}
    assert {
        file: lines for file, lines in lengths.items()
        if lines > LONGER_FILES.get(file, MAX_FILE_LINES) and not fnmatch(file, MIGRATIONS)
    } == {}  # fmt: skip


def test_no_function_is_long() -> None:
    long = []
    for path in text_files(".py"):
        if path.relative_to(ROOT).parts[0] not in PRODUCT or fnmatch(name(path), MIGRATIONS):
            continue
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                body = node.body[1:] if ast.get_docstring(node) is not None else node.body
                lines = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
                if lines > MAX_FUNCTION_LINES:
                    long.append(f"{name(path)}:{node.lineno} {node.name}: {lines} lines")
    assert long == []


def test_the_core_does_not_know_airflow() -> None:
    pattern = re.compile(r"^\s*(?:import|from)\s+airflow\b", re.MULTILINE)
    core = [path for path in text_files(".py") if path.relative_to(ROOT).parts[0] in ("include", "embedded")]
    assert [name(path) for path in core if pattern.search(read(path))] == []


def test_programs_are_executable_and_nothing_else_is() -> None:
    wrong = [
        name(path) for path in repository_files()
        if path.read_bytes().startswith(SHEBANG) is not os.access(path, os.X_OK)
        and path.name != "system-packages.sh"
    ]  # fmt: skip
    assert wrong == [], "a #! line and the executable bit go together (chmod +x)"


def test_shell_scripts_parse() -> None:
    for path in repository_files():
        if path.suffix == ".sh" or path.read_bytes()[:40].startswith(
            (b"#!/usr/bin/env bash", b"#!/bin/bash", b"#!/bin/sh")
        ):
            done = subprocess.run(
                ["bash", "-n", path], capture_output=True, text=True, timeout=30, check=False
            )
            assert done.returncode == 0, done.stderr


def test_nothing_names_a_machine_or_a_package_index() -> None:
    found = [
        f"{name(path)}:{number}: {line.strip()[:100]}"
        for path in text_files()
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if MACHINE.search(line)
    ]
    assert found == []


@pytest.mark.parametrize(
    "line", ["see /work/main", "'/root/.cache'", "/home/ann/x", "--index-url https://x/simple"]
)
def test_the_machine_rule_can_fail(line: str) -> None:
    assert MACHINE.search(line)


def test_requirements_are_pinned_and_agree() -> None:
    runtime, tests = pins("requirements.txt"), pins("requirements-test.txt")
    loose = [
        line for lock in ("requirements.txt", "requirements-test.txt") for line in read(lock).splitlines()
        if line[:1].isalnum() and not PIN.match(line)
    ]  # fmt: skip
    assert loose == []
    assert {package: (version, tests.get(package)) for package, version in runtime.items()
            if tests.get(package) != version} == {}, "run: make lock"  # fmt: skip


def test_requirements_hold_what_was_asked_for() -> None:
    asked = named(tomllib.loads(read("pyproject.toml"))["project"]["dependencies"])
    inputs = named(read("requirements.in").splitlines())
    assert asked <= inputs, "pyproject.toml asks for more than requirements.in"
    assert inputs <= set(pins("requirements.txt")), "run: make lock"
    assert named(read("requirements-test.in").splitlines()) <= set(pins("requirements-test.txt")), (
        "run: make lock"
    )


def test_the_image_copies_what_exists() -> None:
    allowed = [line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")]
    sources = [
        source
        for line in read("Dockerfile").splitlines()
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    assert sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert sorted(set(allowed)) == sorted(set(sources)), (
        ".dockerignore lets through exactly what the Dockerfile copies"
    )


def test_make_rules_have_no_absolute_path() -> None:
    """Make splits names at spaces, so a checkout below a folder with a space must never see its own path."""
    assert re.findall(r"\$\(CURDIR\)|\$\(abspath|\$\(realpath|\$\(PWD\)", read("Makefile")) == []


def test_links_between_pages_resolve() -> None:
    broken = [
        f"{name(page)}: {link}"
        for page in text_files(".md")
        for link in LINK.findall(read(page))
        if "://" not in link and not link.startswith("mailto:") and not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_page_of_docs_is_in_its_index() -> None:
    linked = {link.removeprefix("./") for link in LINK.findall(read("docs/README.md"))}
    pages = {path.name for path in text_files(".md") if path.parent == ROOT / "docs"} - {"README.md"}
    assert sorted(pages - linked) == [], "name them in docs/README.md"


def test_no_symbolic_link_is_in_the_repository() -> None:
    """A pull that brings a link in place of an ignored folder removes that folder."""
    links = [file for file in repository_files() if (ROOT / file).is_symlink()]

    assert links == []
