"""Paths that HTCondor can take."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedded.short_paths import short_path
from include.errors import PoolError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def temp() -> Iterator[Path]:
    """A temporary folder with a short name."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # pytest's own is too long
        yield Path(name)


def test_a_plain_path_stays_as_it_is(temp: Path) -> None:
    assert short_path(temp, temp=temp) == temp.resolve()


@pytest.mark.parametrize("name", ["a b", "x" * 90, "ü", "a$b", "a,b"])
def test_an_awkward_path_gets_a_link(temp: Path, name: str) -> None:
    real = temp / name
    real.mkdir()
    link = short_path(real, temp=temp)
    assert link.is_symlink()
    assert link.resolve() == real
    assert link.parent.stat().st_mode & 0o777 == 0o700
    assert short_path(real, temp=temp) == link
    link.unlink()
    assert short_path(real, temp=temp).resolve() == real


def test_a_folder_that_others_can_write_to_is_refused(temp: Path) -> None:
    folder = temp / f"prodsys-{os.geteuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(PoolError, match="cannot be trusted"):
        short_path(temp / "a b", temp=temp)


def test_a_link_in_place_of_the_folder_is_refused(temp: Path) -> None:
    (temp / "elsewhere").mkdir()
    (temp / f"prodsys-{os.geteuid()}").symlink_to(temp / "elsewhere")
    with pytest.raises(PoolError, match="cannot be trusted"):
        short_path(temp / "a b", temp=temp)
