#!/usr/bin/env python3
"""Reconstruct Z(mu mu) + jets: the two leading muons, and anti-kt jets (R = 0.4) corrected for pile-up.

rho, the transverse momentum that pile-up leaves on a unit of area, is the median over a grid; each jet loses
rho times its area (Cacciari and Salam, arXiv:0707.1378). Simplified: particles are measured perfectly.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

import awkward as ak
import fastjet
import numpy as np
import uproot

ETA_MAX, JET_ETA_MAX, JET_PT_MIN = 4.5, 4.0, 20.0
MUON_ETA_MAX, MUON_PT_MIN = 2.4, 20.0
GHOST_AREA, GRID = 0.02, 0.6
JETS = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.4)
AREA = fastjet.AreaDefinition(fastjet.active_area, fastjet.GhostedAreaSpec(ETA_MAX, 1, GHOST_AREA))
KEPT = ("run", "subrun", "event", "weight", "npileup")
JET_FIELDS = ("pt", "eta", "phi", "m", "area", "pt_raw")


def muon_pair(particles: np.ndarray, pdg: np.ndarray) -> list[int]:
    """Return the positions of the leading muon of each charge; fewer where there is none."""
    pt = np.hypot(particles[:, 0], particles[:, 1])
    with np.errstate(divide="ignore"):
        eta = np.arcsinh(particles[:, 2] / pt)
    good = (pt > MUON_PT_MIN) & (np.abs(eta) < MUON_ETA_MAX)
    found = [np.flatnonzero(good & (pdg == code)) for code in (13, -13)]
    return [int(group[np.argmax(pt[group])]) for group in found if len(group)]


def pair_mass_pt(muons: np.ndarray) -> tuple[float, float]:
    """Return mass and transverse momentum of two muons; -1 where there are not two."""
    if len(muons) != 2:
        return -1.0, -1.0
    px, py, pz, e = muons.sum(axis=0)
    return math.sqrt(max(e * e - px * px - py * py - pz * pz, 0.0)), math.hypot(px, py)


def jets_of(particles: np.ndarray) -> tuple[float, list[tuple[float, ...]]]:
    """Return rho and the corrected jets, hardest first."""
    inputs = [fastjet.PseudoJet(*row) for row in particles.tolist()]
    median = fastjet.GridMedianBackgroundEstimator(JET_ETA_MAX, GRID)
    median.set_particles(inputs)
    rho = median.rho()
    clusters = fastjet.ClusterSequenceArea(inputs, JETS, AREA)
    rows = []
    for jet in clusters.inclusive_jets(JET_PT_MIN):
        pt = jet.pt() - rho * jet.area()
        if pt > JET_PT_MIN and abs(jet.eta()) < JET_ETA_MAX:
            rows.append((pt, jet.eta(), jet.phi_std(), jet.m(), jet.area(), jet.pt()))
    return rho, sorted(rows, reverse=True)


def main() -> None:
    """Reconstruct one subrun."""
    (source,) = Path(os.environ["PRODSYS_INPUTS"]).read_text().splitlines()
    with uproot.open(source) as file:
        tree = file["events"]
        kept = {
            name: tree[name].array(library="np") for name in ("run", "subrun", "event", "weight", "npileup")
        }
        vectors = [
            ak.to_numpy(ak.flatten(tree[f"particle_{name}"].array())) for name in ("px", "py", "pz", "e")
        ]
        particles = np.stack(vectors, axis=1).astype("f8")
        pdg = ak.to_numpy(ak.flatten(tree["particle_pdg"].array()))
        ends = np.cumsum(tree["nparticle"].array(library="np"))
    rhos, pairs, jets, counts = [], [], [], []
    for start, end in zip(np.concatenate([[0], ends[:-1]]), ends, strict=True):
        event = particles[start:end]
        muons = muon_pair(event, pdg[start:end])
        rho, found = jets_of(np.delete(event, muons, axis=0))
        rhos.append(rho)
        pairs.append(pair_mass_pt(event[muons]))
        jets += found
        counts.append(len(found))
    table = np.array(jets, dtype="f4").reshape(-1, len(JET_FIELDS))
    jet = ak.zip({name: ak.unflatten(table[:, index], counts) for index, name in enumerate(JET_FIELDS)})
    pair = np.array(pairs, dtype="f4")
    leading = ak.to_numpy(ak.fill_none(ak.firsts(jet["pt"]), -1.0)).astype("f4")
    output = Path(os.environ["PRODSYS_OUTPUT"])
    with uproot.recreate(output) as file:
        file.mktree(
            "events",
            {
                **kept,
                "rho": np.array(rhos, dtype="f4"),
                "dimuon_m": pair[:, 0],
                "dimuon_pt": pair[:, 1],
                "leading_jet_pt": leading,
                "jet": jet,
            },
        )
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{output.name} {len(counts)}\n")
    both = pair[:, 0] > 0
    median_mass = np.median(pair[both, 0]) if both.any() else -1
    print(f"{len(counts)} events, {both.sum()} with two muons, median mass {median_mass:.1f} GeV")
    print(f"{sum(counts)} jets above {JET_PT_MIN:g} GeV after subtraction, mean rho {np.mean(rhos):.1f} GeV")


if __name__ == "__main__":
    main()
