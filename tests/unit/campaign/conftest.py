"""A folder of specs to write campaigns into."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.campaign.resolve import load_plan
from include.errors import SpecError, SpecErrors

if TYPE_CHECKING:
    from pathlib import Path

    from include.campaign.plan import CampaignPlan

GOOD = """\
version: 1
owner: demo
runs: {first: 1000, last: 1999}
slices: 3
subruns: 8
variables: {config: v1}
stages:
  gen:
    script: gen.sh
    arguments: [--seed, "{seed}", --events, "{events}"]
    events: 100
    output: "dts.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
    tree: events
  reco:
    script: gen.sh
    inputs: {signal: gen}
    output: "mcs.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
    tree: events
merge:
  reco:
    output: "merged.{owner}.z.{config}.{run:06d}_{subrun:08d}.root"
"""


class Specs:
    """A folder of specs with one experiment, `demo`, and its executable script `gen.sh`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "demo"
        self.folder.mkdir(parents=True)
        self.script("gen.sh")

    def script(self, name: str, *, mode: int = 0o755) -> Path:
        """Write a script."""
        path = self.folder / name
        path.write_text("#!/bin/sh\n", encoding="utf-8")
        path.chmod(mode)
        return path

    def write(self, text: str | bytes = GOOD, *, name: str = "z.yaml") -> Path:
        """Write a campaign file."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, text: str | bytes = GOOD, *, name: str = "z.yaml") -> CampaignPlan:
        """Write a campaign file and load it."""
        return load_plan(self.write(text, name=name), specs=self.root, area="/area")

    def errors(self, text: str | bytes, *, name: str = "z.yaml") -> list[str]:
        """Write a wrong campaign file; return its errors without the folder."""
        path = self.write(text, name=name)
        with pytest.raises(SpecError) as caught:
            load_plan(path, specs=self.root, area="/area")
        found = caught.value.errors if isinstance(caught.value, SpecErrors) else (caught.value,)
        return [str(error).replace(f"{self.root}/", "") for error in found]


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    """An empty folder of specs."""
    return Specs(tmp_path / "specs")
