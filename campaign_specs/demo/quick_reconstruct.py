#!/usr/bin/env python3
"""Smear the muons of the toy decays as a tracker would, and write the mass of each pair."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import uproot

RESOLUTION = 0.02


def main() -> None:
    """Reconstruct one subrun."""
    (source,) = Path(os.environ["PRODSYS_INPUTS_SIGNAL"]).read_text().splitlines()
    with uproot.open(source) as file:
        columns = file["events"].arrays(library="np")
    random = np.random.default_rng([int(os.environ["PRODSYS_SEED"]), 1])
    total = np.zeros((4, len(columns["run"])))
    for name in ("minus", "plus"):
        momentum = np.stack([columns[f"{name}_{axis}"] for axis in ("px", "py", "pz")])
        momentum *= random.normal(1, RESOLUTION, momentum.shape[1])
        total += np.concatenate([momentum, np.sqrt((momentum**2).sum(axis=0))[np.newaxis]])
    mass = np.sqrt(np.maximum(total[3] ** 2 - (total[:3] ** 2).sum(axis=0), 0))
    output = Path(os.environ["PRODSYS_OUTPUT"])
    with uproot.recreate(output) as file:
        numbers = {name: columns[name] for name in ("run", "subrun", "event")}
        file.mktree("events", {**numbers, "mass": mass.astype("f4")})
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{output.name} {len(mass)}\n")
    print(f"{len(mass)} events, mean mass {mass.mean():.2f} GeV")


if __name__ == "__main__":
    main()
