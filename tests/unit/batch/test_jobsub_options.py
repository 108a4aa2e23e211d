"""The options that a campaign file may not give, in every spelling that argparse takes."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from include.campaign.jobsub_options import REFUSED, changed_by_jobsub, check_jobsub_options
from include.campaign.spec_types import JobsubOptions

FINE = [
    (),
    ("--onsite", "-c", '(TARGET.has_avx == "yes")'),
    ("--site", "Fermigrid"),
    ("--append_condor_requirements=(TARGET.HAS_CVMFS_x==true)", "--need-storage-modify=/x/y"),
    ("--gpu", "1", "--OS=SL7", "--debug", "--verbose", "1"),
    ("--singularity-image=/cvmfs/x/fnal-wn-sl7:latest", "--no-env-cleanup", "--no-singularity"),
    ("-l", "+MyAttribute=5", "--lines=+Other=true", "-l+Third=1", "-Q"),
    ("-d", "NOTES", "/pnfs/x", "-L", "/pnfs/x/Not.log", "-r", "N5"),
    ("--tar_file_name", "dropbox:///x/code.tar"),
    ("-cTARGET.Nodes", "-Q"),
]
WRONG = [
    (("-N", "5"), "'subruns'"),
    (("-N5",), "'subruns'"),
    (("-N=5",), "'subruns'"),
    (("-N 5",), "'subruns'"),
    (("-QN5",), "'subruns'"),
    (("-\\N5",), "'subruns'"),
    (("-Gother",), "'group'"),
    (("-G=other",), "'group'"),
    (("--gr=other",), "'group'"),
    (("--rol", "Analysis"), "'role'"),
    (("--mem=1MB",), "'memory'"),
    (("--memory=1MB",), "'memory'"),
    (("--dis", "1GB"), "'disk'"),
    (("--cp=1",), "'cpus'"),
    (("--expected=1h",), "'lifetime'"),
    (("--env=A=b",), "'environment'"),
    (("-eA=b",), "'environment'"),
    (("-f/x/job.json",), "'files'"),
    (("--no-sub",), "submits nothing"),
    (("--no_s",), "submits nothing"),
    (("'--no-submit'",), "submits nothing"),
    (("-n",), "submits nothing"),
    (("-Qn",), "submits nothing"),
    (("--vers",), "submits nothing"),
    (("--maxC=5",), "DAG"),
    (("--da",), "DAG"),
    (("--dataset_def", "x"), "DAG"),
    (("--global-pool=other",), "another pool"),
    (("--global", "other"), "another pool"),
    (("-l", '+ProdsysTag="x"'), "begins with Prodsys"),
    (('-l+ProdsysTag="x"',), "begins with Prodsys"),
    (('-l=+ProdsysTag="x"',), "begins with Prodsys"),
    (('-Ql+ProdsysTag="x"',), "begins with Prodsys"),
    (("--lines", '+ProdsysTag="x"'), "begins with Prodsys"),
    (('--lines=+ProdsysTag="x"',), "begins with Prodsys"),
    (('--lin=MY.PRODSYSTAG="x"',), "begins with Prodsys"),
    (("--line", "+prodsysOther=1"), "begins with Prodsys"),
    (("--lines", "+Prod\\sysTag=1"), "begins with Prodsys"),
    (("--onsite", "-l", "+Fine=1", "--lines", "+ProdsysTag=1"), "begins with Prodsys"),
    (("-l", "Queue 7"), "'subruns'"),
    (("--lines=queue",), "'subruns'"),
    (("--lines", "max_materialize = 100"), "'max_jobs_in_flight'"),
    (("-l", " Max_Idle=100"), "'max_jobs_in_flight'"),
    (("--lines=materialize_max_idle=100",), "'max_jobs_in_flight'"),
    (("--onsite", "file:///x/other.sh"), "'script'"),
    (("--", "x"), "'script'"),
]


@pytest.mark.parametrize("options", FINE)
def test_fine(options: tuple[str, ...]) -> None:
    check_jobsub_options(options)


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_wrong(options: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        check_jobsub_options(options)


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_wrong_in_a_campaign_file(options: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(JobsubOptions).validate_python(options)


def test_short_form_says_what_it_is_read_as() -> None:
    with pytest.raises(ValueError, match=r"'--mem' is read as --memory, which is prodsys's own"):
        check_jobsub_options(("--mem=1MB",))


def _parser() -> argparse.ArgumentParser:
    """Return a parser with some of jobsub_submit's options."""
    parser = argparse.ArgumentParser(exit_on_error=False)
    parser.add_argument("-G", "--group", default="ours")
    parser.add_argument("-N", type=int, default=8)
    parser.add_argument("--memory", default="ours")
    parser.add_argument("-n", "--no_submit", "--no-submit", action="store_true")
    parser.add_argument("-Q", "--mail_never", action="store_true")
    parser.add_argument("-l", "--lines", action="append", default=[])
    parser.add_argument("-c", "--append_condor_requirements", default="")
    parser.add_argument("--maxConcurrent", default=None)
    parser.add_argument("executable", nargs="?")
    return parser


PIECES = st.sampled_from(
    [
        *("-", "--", "=", " ", "5", "\\", "'", "N", "n", "Q", "c", "l", "G", "x", "lin", "lines", "+"),
        *("ProdsysTag", "mem", "memory", "no-s", "no_submit", "maxC", "gro", "mail_never", "app"),
    ]
)
WORDS = st.lists(st.lists(PIECES, min_size=1, max_size=5).map("".join), max_size=4)


@given(WORDS)
def test_what_is_let_through_changes_nothing_of_ours(options: list[str]) -> None:
    try:
        check_jobsub_options(options)
    except ValueError:
        return
    words = [changed_by_jobsub(option) for option in options]
    try:
        read, _ = _parser().parse_known_args([*words, "file:///x"])
    except (argparse.ArgumentError, SystemExit):
        return
    assert (read.group, read.N, read.memory, read.no_submit, read.maxConcurrent) == (
        *("ours", 8, "ours", False),
        None,
    )
    assert not [line for line in read.lines if "prodsys" in str(line).lower()]


def test_every_refusal_says_what_to_do() -> None:
    assert all("use the key" in why or "remove it" in why for why in REFUSED.values())
