"""jobsub_submit's options, and the files made from them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from embedded.jobsub import units
from embedded.jobsub.errors import JobsubError
from embedded.jobsub.options import Options, parse
from embedded.jobsub.submission import Submission, dag_text, submit_text, wrapper_text

EXE = "file:///bin/true"


def options(*arguments: str, **environ: str) -> Options:
    """Parse with a group and an executable."""
    return parse(["-G", "demo", *arguments, EXE], environ)


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("500", "m", 500),
        ("2GB", "m", 2048),
        ("2 gib", "m", 2048),
        ("1.5G", "m", 1536),
        ("1KB", "m", 1),
        ("10GB", "k", 10485760),
    ],
)
def test_sizes(text: str, unit: str, value: int) -> None:
    assert units.size(text, option="--memory", unit=unit) == value


@pytest.mark.parametrize(
    ("text", "value"), [("short", 10800), ("long", 85200), ("8h", 28800), ("90", 90), ("1.5m", 90)]
)
def test_lifetimes(text: str, value: int) -> None:
    assert units.lifetime(text) == value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "lots"], "--memory lots: not a size"),
        (["--expected-lifetime", "8 parsecs"], "--expected-lifetime 8 parsecs: not a time"),
        (["--site", "A,B", "--blocklist", "B"], "--site and --blocklist both name B"),
        (["-e", "NOT_SET_HERE"], "the variable is not set here"),
        (["-e", "1A=b"], "'1A' is not a variable's name"),
        (["-f", "dropbox:///no/such"], "there is no such file"),
        (["-f", "dropbox:///etc/passwd", "-f", "dropbox:///etc/passwd"], "another file is called passwd"),
        (["--tar_file_name", "/x.tar"], "give dropbox://TAR or tardir://DIR"),
        (["--tar_file_name", "tardir:///no/such"], "there is no folder /no/such"),
        (["-N", "0"], "at least 1 job"),
        (["-d", "a-b", "/out"], "only letters, digits and _"),
    ],
)
def test_what_is_wrong_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(JobsubError, match=message.replace("$", r"\$")):
        options(*arguments)


def test_sites_exclude_each_other() -> None:
    with pytest.raises(SystemExit):
        options("--onsite", "--offsite")


def test_the_group_falls_back_to_the_environment() -> None:
    assert parse([EXE], {"JOBSUB_GROUP": "a", "GROUP": "b"}).group == "a"
    assert parse([EXE], {"GROUP": "b"}).group == "b"


def test_the_hooks_of_the_environment_are_added() -> None:
    found = options(
        "-l",
        "+A=1",
        JOBSUB_EXTRA_LINES="+B=2,+C=3",
        JOBSUB_EXTRA_ENVIRONMENT="X=1, Y=2",
        JOBSUB_EXTRA_JOB_INFO="tell",
    )
    assert found.lines == ("+A=1", "+B=2", "+C=3")
    assert found.environment == (("X", "1"), ("Y", "2"))
    assert found.job_info == ("tell",)


def test_arguments_after_the_executable_are_the_executables() -> None:
    assert parse(["-G", "demo", EXE, "-N", "5", "--memory"], {}).arguments == ("-N", "5", "--memory")


def test_options_that_mean_nothing_here_are_noted() -> None:
    found = options("--managed-token", "--singularity-image", "/x", "--need-storage-modify", "/y")
    assert found.ignored == ("--managed-token", "--singularity-image", "--need-storage-modify")


def test_max_concurrent_counts_only_below_the_number_of_jobs() -> None:
    assert options("-N", "3", "--maxConcurrent", "3").max_concurrent is None
    limited = options("-N", "3", "--maxConcurrent", "2")
    assert dag_text(limited).count("JOB WORKER_") == 3
    assert dag_text(limited).endswith("MAXJOBS WORKERS 2\n")


def submit_file(*arguments: str) -> str:
    """Return the submit file for the arguments."""
    submission = Submission(folder=Path("/x"), schedd="ap1.pool", user="me", uuid="u", command="c")
    return submit_text(options(*arguments), submission)


def test_the_submit_file_keeps_the_lines_as_they_are() -> None:
    text = submit_file("-N", "4", "-l", '+ProdsysTag="x/y"', "--lines", '+B = "wn3.pool"', "--site", "A")
    assert '\n+ProdsysTag="x/y"\n+B = "wn3.pool"\n' in text
    assert text.endswith("\nqueue 4\n")
    assert " && (stringListIMember(TARGET.GLIDEIN_Site, MY.DESIRED_SITES) =?= True)\n" in text


def test_requirements_are_added_without_parentheses_and_the_last_counts() -> None:
    text = submit_file("-c", "HAS_X", "--append-condor-requirements", "HAS_Y || HAS_Z")
    assert "HAS_X" not in text
    assert " && HAS_Y || HAS_Z\n" in text


def test_a_line_cannot_replace_the_requirements() -> None:
    text = submit_file("-c", "HAS_X", "-l", "requirements = HAS_Y")
    assert text.index("requirements = HAS_Y") < text.index(" && HAS_X\n")


def test_a_layer_of_quotes_is_taken_from_lines_and_requirements() -> None:
    text = submit_file("-c", "'HAS_X'", "-l", "'+A=\\\"v\\\"'")
    assert " && HAS_X\n" in text
    assert '\n+A="v"\n' in text


def run_wrapper(
    tmp_path: Path, script: str, *arguments: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run a wrapper in a scratch folder of its own, as a job would be after a transfer."""
    exe = tmp_path / "job.sh"
    exe.write_text(script)
    wrapper = tmp_path / "simple.sh"
    wrapper.write_text(wrapper_text(parse(["-G", "demo", *arguments], {}), ()))
    env = {
        "PATH": "/usr/bin:/bin",
        "_CONDOR_SCRATCH_DIR": str(tmp_path),
        "PROCESS": "0",
        "JOBSUBJOBID": "1.0@s",
        **environ,
    }
    return subprocess.run(
        ["sh", str(wrapper)], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_wrapper_passes_arguments_and_the_exit_code_on(tmp_path: Path) -> None:
    exe = f"file://{tmp_path}/job.sh"
    (tmp_path / "job.sh").touch()
    done = run_wrapper(
        tmp_path, '#!/bin/sh\nprintf "<%s>" "$@"; exit 7\n', exe, "a b", "$(X) `y`", "", "it's"
    )
    assert done.returncode == 7
    assert "<a b><$(X) `y`><><it's>" in done.stdout
    assert "job.sh COMPLETED with exit status 7\n" in done.stdout
    assert "job.sh COMPLETED with exit status 7\n" in done.stderr


def test_the_wrapper_shortens_a_long_log(tmp_path: Path) -> None:
    (tmp_path / "job.sh").touch()
    script = "#!/bin/sh\nprintf FIRST; head -c 6000000 /dev/zero | tr '\\0' x; echo LAST\n"
    done = run_wrapper(tmp_path, script, f"file://{tmp_path}/job.sh")
    assert 5_000_000 < len(done.stdout) < 5_000_200
    assert "truncated after 1000000 bytes" in done.stdout
    assert "FIRST" in done.stdout
    assert "LAST\n" in done.stdout


def test_a_copy_that_fails_does_not_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "job.sh").touch()
    script = '#!/bin/sh\ntouch "$CONDOR_DIR_OUT/f"\n'
    done = run_wrapper(tmp_path, script, "-d", "OUT", "/no/such", "-f", "/none", f"file://{tmp_path}/job.sh")
    assert done.returncode == 0
    assert "/no/such" in done.stderr


def test_the_time_limit_ends_the_executable(tmp_path: Path) -> None:
    (tmp_path / "job.sh").touch()
    done = run_wrapper(tmp_path, "#!/bin/sh\nexec sleep 60\n", "--timeout", "1s", f"file://{tmp_path}/job.sh")
    assert done.returncode == 124
