"""The short proof that a file name tells subruns apart, against trying many."""

from __future__ import annotations

from itertools import product

from include.campaign.output_names import _NUMBERS, _TOLD_APART

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
