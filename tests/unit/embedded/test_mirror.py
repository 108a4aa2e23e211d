"""Where the private HTCondor's packages come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from embedded import binaries
from include.errors import MissingTool

if TYPE_CHECKING:
    from pathlib import Path


def apt_that_says(folder: Path, text: str) -> str:
    program = folder / "apt-get"
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' '{text}'\n")
    program.chmod(0o755)
    return str(folder)


def test_the_mirror_of_apt_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", apt_that_says(tmp_path, "http://near/debian-security\nhttp://near/debian"))
    assert binaries._mirror() == "http://near/debian"


def test_without_one_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(binaries.MIRROR_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", apt_that_says(tmp_path, "http://near/ubuntu"))
    with pytest.raises(MissingTool, match="PRODSYS_DEBIAN_MIRROR=URL"):
        binaries._mirror()
    monkeypatch.setenv(binaries.MIRROR_VARIABLE, "http://named/debian")
    assert binaries._mirror() == "http://named/debian"
