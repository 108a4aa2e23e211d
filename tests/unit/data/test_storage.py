"""Removal touches regular files below the area and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.data.storage import PosixStorage, is_below
from include.errors import StorageError


@pytest.fixture
def area(tmp_path):
    """An area with one file in it, and a file beside the area."""
    (tmp_path / "area" / "gen" / "000001").mkdir(parents=True)
    (tmp_path / "area" / "gen" / "000001" / "a.root").write_bytes(b"12345")
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "precious").write_bytes(b"x")
    return tmp_path / "area"


STORAGE = PosixStorage()


def test_remove_once_and_again(area):
    path = str(area / "gen" / "000001" / "a.root")
    assert STORAGE.remove(path, area=str(area)) is True
    assert STORAGE.remove(path, area=str(area)) is False
    assert STORAGE.remove(str(area / "never" / "was" / "b.root"), area=str(area)) is False


@pytest.mark.parametrize(
    "path",
    [
        "{area}",
        "{area}/",
        "{area}/.",
        "{area}/..",
        "{area}/../beside/precious",
        "{area}x/a",
        "/",
        "gen/a.root",
        "",
        "{area}/\0",
    ],
)
def test_refuses_what_is_not_plainly_below_the_area(area, path):
    with pytest.raises(StorageError, match="not below the area"):
        STORAGE.remove(path.format(area=area), area=str(area))
    assert not is_below(path.format(area=area), str(area))
    assert (area.parent / "beside" / "precious").exists()


@pytest.mark.parametrize("root", ["/", "", "relative"])
def test_refuses_an_area_that_is_none(area, root):
    with pytest.raises(StorageError, match="not below the area"):
        STORAGE.remove(str(area / "gen" / "000001" / "a.root"), area=root)


def test_refuses_links_folders_and_paths_through_links(area):
    (area / "link").symlink_to(area.parent / "beside" / "precious")
    (area / "way_out").symlink_to(area.parent / "beside")
    with pytest.raises(StorageError, match="not a regular file"):
        STORAGE.remove(str(area / "link"), area=str(area))
    with pytest.raises(StorageError, match="cannot remove"):
        STORAGE.remove(str(area / "way_out" / "precious"), area=str(area))
    with pytest.raises(StorageError, match="not a regular file"):
        STORAGE.remove(str(area / "gen"), area=str(area))
    assert (area.parent / "beside" / "precious").exists()
    assert (area / "link").is_symlink()


def test_an_area_that_is_gone_is_not_a_file_that_is_gone(area):
    with pytest.raises(StorageError, match="is it mounted"):
        STORAGE.remove(str(area.parent / "gone" / "a.root"), area=str(area.parent / "gone"))


def test_look_open_list_and_space(area):
    folder = str(area / "gen" / "000001")
    entry = STORAGE.stat(f"{folder}/a.root")
    assert entry is not None
    assert (entry.size, entry.is_file, entry.is_folder) == (5, True, False)
    assert STORAGE.stat(f"{folder}/b.root") is None
    assert STORAGE.stat(f"{folder}/a.root/c") is None
    assert [found.path for found in STORAGE.entries(folder)] == [f"{folder}/a.root"]
    with STORAGE.open(f"{folder}/a.root") as stream:
        assert stream.read() == b"12345"
    assert STORAGE.free_bytes(folder) > 0
    for act in (STORAGE.open, STORAGE.entries, STORAGE.free_bytes):
        with pytest.raises(StorageError, match="No such file"):
            act(f"{folder}/none")


def test_descriptors_are_closed(area):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        STORAGE.remove(str(area / "gen" / "000001" / "b.root"), area=str(area))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
