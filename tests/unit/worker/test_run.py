"""A job that goes well."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest


def test_success_publishes_and_reports(job: Any) -> None:
    job.good_script()
    code, text = job.run()
    assert code == 0, text
    report = job.report()
    assert report["failed_at"] is None
    assert report["error"] is None
    assert (report["exit_code"], report["exit_signal"]) == (0, None)
    assert (report["cluster"], report["process"], report["schedd"]) == (77, 0, "ap1.example.org")
    assert (report["run"], report["first_subrun"], report["last_subrun"]) == (12, 3, 3)
    assert report["execution"].startswith("77.0.0-")
    assert len(report["execution"]) == len("77.0.0-") + 8
    assert 0 <= report["ended"] - report["started"] < 60
    assert report["max_rss_kb"] > 0
    assert report["node"]["cpus"] >= 1

    (folder,) = job.published()
    assert folder.name == report["execution"]
    (output,) = report["outputs"]
    assert set(output) == {
        "name", "file", "path", "size", "sha256", "adler32", "run", "first_subrun", "last_subrun", "events",
    }  # fmt: skip
    path = Path(output["path"])
    assert path == folder / "dts.000012_00000003.txt"
    content = b"5 events\n"
    assert path.read_bytes() == content
    assert output["size"] == len(content)
    assert output["sha256"] == hashlib.sha256(content).hexdigest()
    assert output["adler32"] == f"{zlib.adler32(content):08x}"
    assert output["events"] is None

    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["selfcheck"] == job.selfcheck(manifest)
    assert manifest["outputs"] == report["outputs"]
    assert manifest["tag"] == report["tag"] == job.document["tag"]
    assert "subrun 3" in Path(report["log"]).read_text()
    assert "subrun 3" in text
    assert list(job.scratch.iterdir()) == []


def test_script_sees_the_contract(job: Any, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("a.txt", "b c.txt", "d.txt"))
    for path in (first, second, third):
        path.write_text(path.name)
    job.document["units"][0]["inputs"] = {"signal": [str(first)], "pile-up": [str(second), str(third)]}
    job.document["environment"] = {"CALIBRATION": "v 7"}
    job.document["arguments"] = ["--seed", "{seed}", "{run:06d}/{subrun}", "{events} {process}", "plain"]
    job.document["outputs"].append({"name": "hits", "file_name": "hits.{subrun}.txt"})
    job.script(
        'env | grep -v PATH > "$PRODSYS_LOG_DIR/env.txt"\n'
        'printf "%s|" "$@" > "$PRODSYS_LOG_DIR/arguments.txt"\n'
        'mkdir "$PRODSYS_LOG_DIR/more"\ncp "$PRODSYS_INPUTS" "$PRODSYS_LOG_DIR/more/all.txt"\n'
        'cp "$PRODSYS_INPUTS_PILE_UP" "$PRODSYS_LOG_DIR/pileup.txt"\n'
        'cp "$PRODSYS_INPUTS_SIGNAL" "$PRODSYS_LOG_DIR/report.json"\n'
        'echo a > "$PRODSYS_OUTPUT"\necho b > "$PRODSYS_OUTPUT_HITS"\n'
        'echo "dts.000012_00000003.txt 41" > "$PRODSYS_EVENTS_FILE"\n'
    )
    code, text = job.run()
    assert code == 0, text
    report = job.report()
    logs = job.logs / report["execution"]
    seen = dict(line.split("=", 1) for line in (logs / "env.txt").read_text().splitlines())
    out = seen["PRODSYS_OUTPUT_DIR"]
    assert {key: seen[key] for key in sorted(seen) if key.startswith("PRODSYS_") and "INPUTS" not in key} == {
        "PRODSYS_CAMPAIGN": "test",
        "PRODSYS_EVENTS": "5",
        "PRODSYS_EVENTS_FILE": seen["PRODSYS_EVENTS_FILE"],
        "PRODSYS_EXPERIMENT": "demo",
        "PRODSYS_LAST_SUBRUN": "3",
        "PRODSYS_LOG_DIR": seen["PRODSYS_LOG_DIR"],
        "PRODSYS_OUTPUT": f"{out}/dts.000012_00000003.txt",
        "PRODSYS_OUTPUT_DEFAULT": f"{out}/dts.000012_00000003.txt",
        "PRODSYS_OUTPUT_DIR": out,
        "PRODSYS_OUTPUT_HITS": f"{out}/hits.3.txt",
        "PRODSYS_RUN": "12",
        "PRODSYS_SEED": "1200004",
        "PRODSYS_STAGE": "gen",
        "PRODSYS_SUBRUN": "3",
    }
    assert seen["CALIBRATION"] == "v 7"
    assert (logs / "arguments.txt").read_text() == "--seed|1200004|000012/3|5 0|plain|"
    assert (logs / "more" / "all.txt").read_text() == f"{first}\n{second}\n{third}\n"
    assert (logs / "pileup.txt").read_text() == f"{second}\n{third}\n"
    assert (logs / "script.report.json").read_text() == f"{first}\n"
    assert [output["events"] for output in report["outputs"]] == [41, None]


def test_events_are_unset_where_the_spec_does_not_say(job: Any) -> None:
    job.document["events"] = None
    job.environment["PRODSYS_EVENTS"] = "stale"
    job.script('echo "${PRODSYS_EVENTS-unset}" > "$PRODSYS_OUTPUT"\n')
    assert job.run()[0] == 0
    assert Path(job.report()["outputs"][0]["path"]).read_text() == "unset\n"


def test_file_that_is_no_output_is_named_in_the_log(job: Any) -> None:
    job.good_script('echo x > "$PRODSYS_OUTPUT_DIR/histograms.txt"\n')
    assert job.run()[0] == 0
    assert "not kept: histograms.txt" in Path(job.report()["log"]).read_text()
    assert [path.name for path in job.published()[0].iterdir() if path.name == "histograms.txt"] == []


def test_script_without_permission_is_run_from_a_copy(job: Any) -> None:
    job.good_script(mode=0o644)
    assert job.run()[0] == 0
    assert len(job.report()["outputs"]) == 1


@pytest.mark.parametrize(
    ("environment", "unit"),
    [
        ({"PROCESS": "1"}, 4),
        ({"PROCESS": "1", "JOBSUBJOBSECTION": "1"}, 4),
        ({"PROCESS": "0", "JOBSUBJOBSECTION": "1", "DAGMANJOBID": "70"}, 4),
        ({"PROCESS": "0", "JOBSUBJOBSECTION": ""}, 3),
        ({"PROCESS": "0", "JOBSUBJOBSECTION": "$(JOBSUBJOBSECTION)"}, 3),
    ],
)
def test_unit_of_the_process(job: Any, environment: dict[str, str], unit: int) -> None:
    job.environment.update(environment)
    job.good_script()
    assert job.run()[0] == 0
    report = job.report()
    assert report["first_subrun"] == unit
    assert report["process"] == int(environment["PROCESS"])


@pytest.mark.parametrize("indent", [None, 1, 2])
def test_job_file_of_any_layout(job: Any, indent: int | None) -> None:
    job.document["environment"] = {"units": ' "units": [', "TEXT": "größe"}
    job.good_script('echo "$TEXT"\n')
    (job.sent / "job.json").write_text(json.dumps(job.document, indent=indent, ensure_ascii=False))
    code, text = job.run_only()
    assert code == 0, text
    assert job.report()["first_subrun"] == 3
    assert "größe" in text


def test_a_job_reads_only_its_own_unit(job: Any) -> None:
    job.document["environment"] = {"units": ' "units": [\n'}
    job.good_script()
    job.write_job_file()
    path = job.sent / "job.json"
    path.write_text(path.read_text().replace('"first_subrun":4', '"first_subrun":four'))
    assert job.run_only()[0] == 0
    assert job.report()["first_subrun"] == 3
    job.environment["PROCESS"] = "1"
    assert job.run_only()[0] == 84
    assert {"unit 1 is not JSON" in str(report["error"]) for report in job.reports()} == {True, False}


@pytest.mark.parametrize(("process", "unit"), [("0", 4), ("1", None)])
def test_first_unit(job: Any, process: str, unit: int | None) -> None:
    job.environment["PROCESS"] = process
    job.document["arguments"] = ["{process}"]
    job.good_script("echo number $1\n")
    code, text = job.run("--first-unit", "1")
    report = job.report()
    assert (code, report["first_subrun"], report["process"]) == (0 if unit else 84, unit, int(process))
    assert ("number 1" in text) == bool(unit)


@pytest.mark.parametrize(("number", "code"), [("-1", 84), ("x", 2), ("1.5", 2), ("", 2)])
def test_first_unit_must_be_one_that_there_is(job: Any, number: str, code: int) -> None:
    assert job.run("--first-unit", number)[0] == code
    assert job.published() == []


def test_without_any_identity(job: Any) -> None:
    for name in ("CLUSTER", "PROCESS", "JOBSUBJOBID"):
        del job.environment[name]
    job.good_script()
    assert job.run()[0] == 0
    report = job.report()
    assert (report["cluster"], report["process"], report["schedd"], report["global_job_id"]) == (
        0,
        0,
        None,
        None,
    )


@pytest.mark.parametrize("locale", [{}, {"LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}], ids=["unset", "C", "UTF-8"])
def test_unicode_and_spaces_in_paths(make_job: Any, tmp_path: Path, locale: dict[str, str]) -> None:
    job = make_job(tmp_path / "Köln área 東京")
    job.environment.update(locale)
    source = job.base / "entrée 1.txt"
    source.write_text("x")
    job.document["units"][0]["inputs"] = {"signal": [str(source)]}
    job.document["outputs"][0]["file_name"] = "sørtie {run}_{subrun}.txt"
    job.document["arguments"] = ["größe {seed}"]
    job.script(
        'cat "$PRODSYS_INPUTS" > "$PRODSYS_OUTPUT"\necho "$1"\n'
        'echo "sørtie 12_3.txt 6">"$PRODSYS_EVENTS_FILE"'
    )
    code, text = job.run()
    assert code == 0, text
    (output,) = job.report()["outputs"]
    assert output["file"] == "sørtie 12_3.txt"
    assert output["events"] == 6
    assert Path(output["path"]).read_text(encoding="utf-8") == f"{source}\n"
    assert "größe 1200004" in text


def test_large_files_are_streamed(job: Any) -> None:
    job.script(
        'truncate -s 48M "$PRODSYS_OUTPUT"\nprintf end >> "$PRODSYS_OUTPUT"\n'
        "head -c 5000000 /dev/zero | tr '\\0' x\nprintf '\\nthe last line\\n'\n"
    )
    job.write_job_file()
    command = [*job.program, "run", "job.json"]
    measured = f"import resource, subprocess; subprocess.run({command!r}, stdout=2); "
    measured += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    done = subprocess.run(
        [sys.executable, "-c", measured],
        cwd=job.scratch,
        env=job.environment,
        capture_output=True,
        check=True,
    )
    assert int(done.stdout) < 40_000, "kilobytes: neither output nor log is read into memory as a whole"
    report = job.report()
    (output,) = report["outputs"]
    assert output["size"] == (48 << 20) + 3
    assert output["adler32"] == f"{zlib.adler32(Path(output['path']).read_bytes()):08x}"
    assert Path(report["log"]).stat().st_size > 5_000_000
    assert len(done.stderr) < 200_000
    assert b"bytes left out" in done.stderr
    assert b"the last line" in done.stderr


class TestMerge:
    def inputs(self, job: Any, method: str) -> list[str]:
        paths = [job.base / f"{subrun}.txt" for subrun in (0, 1, 2)]
        for path in paths:
            path.write_text(f"{path.name}\n")
        job.document["merge"] = {"method": method}
        job.document["events"] = None
        unit = {"first_subrun": 0, "last_subrun": 2, "inputs": {"files": [str(path) for path in paths]}}
        job.document["units"] = [unit]
        return [str(path) for path in paths]

    def test_command(self, job: Any) -> None:
        self.inputs(job, "command")
        job.script('output=$1; shift; cat "$@" > "$output"\n')
        assert job.run()[0] == 0
        report = job.report()
        assert (report["first_subrun"], report["last_subrun"]) == (0, 2)
        (output,) = report["outputs"]
        assert (output["first_subrun"], output["last_subrun"]) == (0, 2)
        assert output["events"] is None
        assert Path(output["path"]).read_text() == "0.txt\n1.txt\n2.txt\n"
        assert output["file"] == "dts.000012_00000000.txt"

    def test_hadd_is_found_on_path(self, job: Any) -> None:
        inputs = self.inputs(job, "hadd")
        job.document["script"] = None
        tools = job.base / "tools"
        tools.mkdir()
        (tools / "hadd").write_text('#!/bin/sh\n[ "$1 $#" = "-f 3" ] && cat "${3#@}" > "$2"\n')
        (tools / "hadd").chmod(0o755)
        job.environment["PATH"] = f"{tools}:/usr/bin:/bin"
        assert job.run()[0] == 0
        assert Path(job.report()["outputs"][0]["path"]).read_text().splitlines() == inputs

    def test_a_command_line_that_is_too_long_says_so(self, job: Any) -> None:
        name = "x" * 200
        (job.base / name).write_text("content\n")
        self.inputs(job, "command")
        job.script("exit 0\n")
        inputs = [str(job.base / name)] * 12_000
        job.document["units"] = [{"first_subrun": 0, "last_subrun": 11_999, "inputs": {"files": inputs}}]
        code, text = job.run()
        assert code == 126
        error = job.report()["error"]
        assert re.search(r"its 12001 arguments have \d{7} bytes, more than this node takes$", error), error
        assert "… and 11982 more" in text
        assert len(text) < 20_000

    def test_without_hadd(self, job: Any) -> None:
        self.inputs(job, "hadd")
        job.environment["PATH"] = str(job.base)
        code, _ = job.run()
        assert code == 127
        assert job.report()["error"] == "hadd is not on PATH: set up ROOT in this job"
