#!/usr/bin/env python3
"""Generate proton-proton collisions at 13.6 TeV with Pythia 8 and write their visible particles to a TTree.

`--process zjet`: Z(mu mu) + jet, hard scale above 30 GeV, with underlying event.
`--process minbias`: inelastic non-diffractive collisions, the pile-up of every bunch crossing.

Simplified: leading-order matrix elements, Pythia's default (Monash) tune, no detector; the pile-up sample
leaves diffraction out, which would cost 9 CPU-seconds of initialisation a job instead of 0.3. What Pythia
works out about multiple interactions at its start is read from pp13600.mpi, or worked out again without it.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pythia8mc
import uproot

START_FILE = "pp13600.mpi"
COMMON = (
    "Beams:idA = 2212",
    "Beams:idB = 2212",
    "Beams:eCM = 13600.",
    "Print:quiet = on",
    "Random:setSeed = on",
    "MultipartonInteractions:reuseInit = 3",
    f"MultipartonInteractions:initFile = {START_FILE}",
)
PROCESSES = {
    "zjet": (
        "WeakBosonAndParton:qqbar2gmZg = on",
        "WeakBosonAndParton:qg2gmZq = on",
        "WeakZ0:gmZmode = 2",
        "PhaseSpace:pTHatMin = 30.",
        "23:onMode = off",
        "23:onIfAny = 13",
    ),
    "minbias": ("SoftQCD:nonDiffractive = on",),
}
# Pythia takes seeds up to 900,000,000; the two samples of one subrun must not share a sequence.
SEEDS = 449_999_999
ETA_MAX, PT_MIN = 4.5, 0.2


def generator(process: str, seed: int) -> pythia8mc.Pythia:
    """Return an initialised Pythia."""
    sent = Path(os.environ.get("CONDOR_DIR_INPUT", ".")) / START_FILE
    if sent.exists() and not Path(START_FILE).exists():
        shutil.copyfile(sent, START_FILE)  # Pythia takes no path with a space in it
    pythia = pythia8mc.Pythia("", False)
    first = 1 + SEEDS * list(PROCESSES).index(process)
    for setting in (*COMMON, *PROCESSES[process], f"Random:seed = {first + seed % SEEDS}"):
        if not pythia.readString(setting):
            raise SystemExit(f"Pythia does not accept {setting!r}")
    if not pythia.init():
        raise SystemExit(f"Pythia could not be initialised for {process}")
    return pythia


def visible(event: pythia8mc.Event) -> list[tuple[float, float, float, float, int]]:
    """Return px, py, pz, E and PDG code of the particles that a detector could see."""
    rows = []
    for particle in event:
        if particle.isFinal() and particle.isVisible():
            pt = particle.pT()
            if pt > PT_MIN and abs(particle.eta()) < ETA_MAX:
                rows.append((particle.px(), particle.py(), particle.pz(), particle.e(), particle.id()))
    return rows


def main() -> None:
    """Generate one subrun."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--process", choices=PROCESSES, required=True)
    process = parser.parse_args().process
    names = ("PRODSYS_RUN", "PRODSYS_SUBRUN", "PRODSYS_SEED", "PRODSYS_EVENTS")
    run, subrun, seed, wanted = (int(os.environ[name]) for name in names)
    pythia = generator(process, seed)
    rows, counts, weights, failures = [], [], [], 0
    while len(counts) < wanted:
        if not pythia.next():
            failures += 1
            if failures > 10:
                raise SystemExit(f"Pythia gave up on {failures} events of {process}")
            continue
        particles = visible(pythia.event)
        rows += particles
        counts.append(len(particles))
        weights.append(pythia.infoPython().weight())
    table = np.array(rows, dtype=np.float64).reshape(-1, 5)
    columns = {name: table[:, index].astype("f4") for index, name in enumerate(("px", "py", "pz", "e"))}
    columns["pdg"] = table[:, 4].astype("i4")
    output = Path(os.environ["PRODSYS_OUTPUT"])
    with uproot.recreate(output) as file:
        file.mktree(
            "events",
            {
                "run": np.full(wanted, run, dtype="i4"),
                "subrun": np.full(wanted, subrun, dtype="i4"),
                "event": np.arange(1, wanted + 1, dtype="i4"),
                "weight": np.array(weights),
                "particle": ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()}),
            },
        )
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{output.name} {wanted}\n")
    sigma = pythia.infoPython().sigmaGen() * 1e9
    print(f"{process}: {wanted} events, {len(rows)} particles, cross section {sigma:.4g} pb")


if __name__ == "__main__":
    main()
