"""Several campaigns at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.campaign.catalogue import check_all, find_specs
from include.campaign.plan import CampaignPlan
from include.errors import SpecError
from tests.unit.campaign.conftest import GOOD

if TYPE_CHECKING:
    from tests.unit.campaign.conftest import Specs


def runs(first: int, last: int) -> str:
    """Return the good campaign with other runs."""
    return GOOD.replace("first: 1000, last: 1999", f"first: {first}, last: {last}")


def test_find_specs(specs: Specs) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        ".hidden.yaml",
        "notes.txt",
        "../mu2e/c.yaml",
        "deep/own.yaml",
        "../.git/x.yaml",
    ):
        specs.write(name=name)
    found = [str(path.relative_to(specs.root)) for path in find_specs(specs.root)]
    assert found == ["demo/a.yml", "demo/b.yaml", "mu2e/c.yaml"]


def test_one_broken_file_never_hides_the_others(specs: Specs) -> None:
    for index in range(20):
        specs.write(runs(100 * index + 1, 100 * index + 100), name=f"c{index:02d}.yaml")
    specs.write(b"\xff\xfe", name="c07.yaml")
    found = check_all(specs.root, "/area")
    broken = [path.name for path, item in found if isinstance(item, SpecError)]
    assert broken == ["c07.yaml"]
    assert sum(isinstance(item, CampaignPlan) for _, item in found) == 19


def test_overlapping_runs_are_refused_at_both_places(specs: Specs) -> None:
    specs.write(runs(1, 100), name="a.yaml")
    specs.write("\n\n" + runs(100, 200), name="b.yaml")
    specs.write(runs(201, 300), name="c.yaml")
    specs.write(runs(1, 300).replace("owner: demo", "owner: mu2e"), name="../mu2e/d.yaml")
    (specs.root / "mu2e" / "gen.sh").symlink_to(specs.folder / "gen.sh")
    found = {path.name: item for path, item in check_all(specs.root, "/area")}
    assert [name for name, item in found.items() if isinstance(item, SpecError)] == ["a.yaml", "b.yaml"]
    assert str(found["a.yaml"]) == (
        f"{specs.folder}/a.yaml:3:1: runs 1..100 overlap runs 100..200 of demo.b ({specs.folder}/b.yaml:5:1) "
        "(a run number is used once in an experiment, for ever)"
    )
    assert "b.yaml:5:1: runs 100..200 overlap runs 1..100 of demo.a" in str(found["b.yaml"])


def test_the_same_name_twice_refuses_both(specs: Specs) -> None:
    specs.write(runs(1, 9), name="a.yaml")
    specs.write(runs(11, 19), name="a.yml")
    found = [str(item) for _, item in check_all(specs.root, "/area")]
    assert len(found) == 2
    assert "duplicate campaign name: a.yml is the same campaign" in found[0]
    assert "duplicate campaign name: a.yaml is the same campaign" in found[1]


def test_a_file_outside_an_experiment_is_named(specs: Specs) -> None:
    specs.write(name="../stray.yaml")
    ((path, item),) = check_all(specs.root, "/area")
    assert path.name == "stray.yaml"
    assert "not at its place" in str(item)


def test_no_folder(specs: Specs) -> None:
    with pytest.raises(SpecError, match="the folder cannot be read: No such file"):
        check_all(specs.root / "none", "/area")
