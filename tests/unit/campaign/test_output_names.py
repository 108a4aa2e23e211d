"""Names of output files: the proof that one tells subruns apart, and that no two outputs have one."""

from __future__ import annotations

from itertools import product

import pytest

from include.campaign.output_names import _NUMBERS, _TOLD_APART
from tests.unit.campaign.conftest import GOOD, Specs

RUNS = (*_NUMBERS, 9, 10, 99, 100, 999_999)
FORMATS = ("", ":d", ":06d", ":6", ":02d", ":x", ":.0e", ":<3", ":^4d", ":s")
BETWEEN = ("", "_", "1", "0", "x", "1_2", "-", "0.0", "_1")


def test_what_is_proven_to_tell_subruns_apart_does() -> None:
    proven = 0
    for first, second, literal in product(FORMATS, FORMATS, BETWEEN):
        template = f"a1{{run{first}}}{literal}{{subrun{second}}}2.root"
        if not _TOLD_APART.fullmatch(template):
            continue
        proven += 1
        names = [template.format(run=run, subrun=subrun) for run, subrun in product(RUNS, (0, *RUNS))]
        assert len(set(names)) == len(names), template
    assert proven == 5 * 5 * 6


def test_the_proof_is_only_of_two_numbers_in_plain_formats() -> None:
    others = ("{run}_{run}", "{run}1{subrun}", "{run:x}_{subrun}", "{{{run}_{subrun}", "{run}_{subrun}{run}")
    for template in others:
        assert not _TOLD_APART.fullmatch(template), template
    assert _TOLD_APART.fullmatch("nts.{subrun:05d}.{run}.h5")


def test_stages_whose_files_have_one_name_are_refused(specs: Specs) -> None:
    names = [line for line in GOOD.splitlines() if "output:" in line]
    found = specs.errors(GOOD.replace(names[1], names[0]))
    assert len(found) == 1
    assert "the file name is that of gen too: " in found[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("{run:06d}_{subrun}", "{run:06d}_{subrun:d}"),
        ("{run:04d}_{subrun}", "{run}_{subrun}"),
        ("{run:06d}_{subrun:02d}", "{run:06d}_{subrun}"),
    ],
)
def test_outputs_whose_names_meet_somewhere_are_refused(specs: Specs, first: str, second: str) -> None:
    text = GOOD.replace("subruns: 8", "subruns: 80")
    names = [line.partition("output: ")[2] for line in GOOD.splitlines() if "output:" in line]
    two = text.replace(names[0], f'"x.{first}.root"').replace(names[1], f'"x.{second}.root"')
    (found,) = specs.errors(two)
    assert "the file name is that of gen too: x.00" in found.replace("x.10", "x.00")
    files = {key: f"{{file: 'x.{name}.root', tree: t}}" for key, name in (("a", first), ("b", second))}
    both = f"    outputs:\n      a: {files['a']}\n      b: {files['b']}"
    gen = text.replace(f"    output: {names[0]}\n    tree: events", both)
    (found,) = specs.errors(gen.replace("{signal: gen}", "{signal: gen.a}"))
    assert "the file name is that of output 'a' too: x." in found


def test_a_merged_file_named_like_another_output_of_its_stage_is_refused(specs: Specs) -> None:
    names = [line.partition("output: ")[2] for line in GOOD.splitlines() if "output:" in line]
    other = (
        f"    outputs:\n      hits: {{file: {names[1]}, tree: t}}\n      rest: {{file: {names[2]}, tree: t}}"
    )
    text = GOOD.replace(f"    output: {names[1]}\n    tree: events", other).replace(
        "merge:\n  reco:", "merge:\n  hits:\n    of: reco.hits"
    )
    (found,) = specs.errors(text)
    assert "the file name is that of reco too: merged." in found
    assert found.startswith("demo/z.yaml:23:13: ")
