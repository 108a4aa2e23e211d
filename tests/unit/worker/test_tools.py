"""The program as a file, and its small commands."""

from __future__ import annotations

import ast
import json
import os
import sys
import zlib
from pathlib import Path
from typing import Any


def test_is_one_executable_file_of_python_3_6(job: Any) -> None:
    program = Path(job.program[1])
    text = program.read_text(encoding="utf-8")
    ast.parse(text, feature_version=(3, 6))
    assert text.startswith("#!/usr/bin/env python3\n")
    assert os.access(program, os.X_OK)
    imported = {
        name.name if isinstance(node, ast.Import) else (node.module or "")
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= set(sys.stdlib_module_names)


def test_flipped_byte_breaks_the_selfcheck(job: Any) -> None:
    job.good_script()
    assert job.run()[0] == 0
    report = job.report()
    (path,) = job.logs.glob("*/report.json")
    flipped = path.read_bytes().replace(b"dts.000012", b"dts.000013", 1)
    assert flipped != path.read_bytes()
    damaged = json.loads(flipped)
    assert job.selfcheck(damaged) != damaged["selfcheck"] == report["selfcheck"]


def test_manifest_check(job: Any) -> None:
    job.good_script()
    assert job.run()[0] == 0
    (folder,) = job.published()
    assert job.tool("manifest-check", folder)[0] == 0
    output = folder / "dts.000012_00000003.txt"
    output.write_text("6 events\n")
    assert job.tool("manifest-check", folder)[0] == 1
    output.write_text("5 events\n")
    assert job.tool("manifest-check", folder)[0] == 0
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    manifest.write_text(text.replace('"run": 12', '"run": 13', 1))
    assert job.tool("manifest-check", folder)[0] == 1
    manifest.write_text(text[:-20])
    assert job.tool("manifest-check", folder)[0] == 1
    output.unlink()
    assert job.tool("manifest-check", folder)[0] == 1
    assert job.tool("manifest-check", folder / "nothing")[0] == 1


def test_adler32_and_node_probe(job: Any) -> None:
    path = job.base / "file"
    path.write_bytes(b"a" * 3_000_000)
    assert job.tool("adler32", path) == (0, f"{zlib.adler32(path.read_bytes()):08x}\n")
    assert job.tool("adler32", job.base / "nothing")[0] == 1
    code, text = job.tool("node-probe")
    facts = json.loads(text)
    assert code == 0
    assert facts["cpus"] >= 1
    assert facts["memory_mb"] > 100
    assert facts["host"]
