#!/usr/bin/env python3
"""Write toy Z(mu mu) decays to a flat TTree: Breit-Wigner mass, isotropic decay, boosted along the beam."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import uproot

MASS, WIDTH = 91.19, 2.50


def decays(random: np.random.Generator, number: int) -> dict[str, np.ndarray]:
    """Return the momenta of the two muons, in GeV."""
    mass = MASS + WIDTH / 2 * np.tan(np.pi * (random.uniform(0.05, 0.95, number) - 0.5))
    cosine, phi = random.uniform(-1, 1, number), random.uniform(-np.pi, np.pi, number)
    rapidity = random.uniform(-2, 2, number)
    sine, half = np.sqrt(1 - cosine**2), mass / 2
    columns = {}
    for name, sign in (("minus", 1), ("plus", -1)):
        pz, energy = sign * half * cosine, half
        columns[f"{name}_px"] = sign * half * sine * np.cos(phi)
        columns[f"{name}_py"] = sign * half * sine * np.sin(phi)
        columns[f"{name}_pz"] = pz * np.cosh(rapidity) + energy * np.sinh(rapidity)
    return columns


def main() -> None:
    """Generate one subrun."""
    names = ("PRODSYS_RUN", "PRODSYS_SUBRUN", "PRODSYS_SEED", "PRODSYS_EVENTS")
    run, subrun, seed, wanted = (int(os.environ[name]) for name in names)
    output = Path(os.environ["PRODSYS_OUTPUT"])
    with uproot.recreate(output) as file:
        file.mktree(
            "events",
            {
                "run": np.full(wanted, run, dtype="i4"),
                "subrun": np.full(wanted, subrun, dtype="i4"),
                "event": np.arange(1, wanted + 1, dtype="i4"),
                **decays(np.random.default_rng(seed), wanted),
            },
        )
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{output.name} {wanted}\n")
    print(f"run {run} subrun {subrun}: {wanted} events")


if __name__ == "__main__":
    main()
