#!/usr/bin/env python3
"""Overlay each signal event with Poisson(mu) pile-up collisions, as bunch crossings do.

Pile-up events are drawn without replacement within a crossing, from all files of the pile-up input, with a
seed of the subrun's own. Every particle keeps where it came from: origin 0 is the signal, 1..n the n-th
pile-up collision.

Simplified: pile-up of the same crossing only, and all collisions in one point.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

import awkward as ak
import numpy as np
import uproot

FIELDS = ("px", "py", "pz", "e", "pdg")


class Sample(NamedTuple):
    """Events one after the other: particles of event i are columns[...][offsets[i]:offsets[i + 1]]."""

    numbers: dict[str, np.ndarray]
    columns: dict[str, np.ndarray]
    offsets: np.ndarray


def read(list_file: str) -> Sample:
    """Read the files that a list names, in its order."""
    numbers: dict[str, list[np.ndarray]] = {name: [] for name in ("run", "subrun", "event", "weight")}
    columns: dict[str, list[np.ndarray]] = {name: [] for name in FIELDS}
    counts = []
    for path in Path(list_file).read_text().splitlines():
        with uproot.open(path) as file:
            tree = file["events"]
            for name, parts in numbers.items():
                parts.append(tree[name].array(library="np"))
            for name, parts in columns.items():
                parts.append(ak.to_numpy(ak.flatten(tree[f"particle_{name}"].array())))
            counts.append(tree["nparticle"].array(library="np"))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return Sample(
        {name: np.concatenate(parts) for name, parts in numbers.items()},
        {name: np.concatenate(parts) for name, parts in columns.items()},
        offsets,
    )


def main() -> None:
    """Mix one subrun."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mu", type=float, required=True, help="mean number of pile-up collisions")
    mu = parser.parse_args().mu
    signal, pileup = read(os.environ["PRODSYS_INPUTS_SIGNAL"]), read(os.environ["PRODSYS_INPUTS_PILEUP"])
    random = np.random.default_rng([int(os.environ["PRODSYS_SEED"]), 1])
    pool = len(pileup.offsets) - 1
    drawn, origins, counts = [], [], []
    chosen = [
        random.choice(pool, size=min(k, pool), replace=False)
        for k in random.poisson(mu, len(signal.offsets) - 1)
    ]
    for index, events in enumerate(chosen):
        spans = [(signal, index), *((pileup, event) for event in events)]
        sizes = [sample.offsets[event + 1] - sample.offsets[event] for sample, event in spans]
        drawn += [
            (sample, slice(sample.offsets[event], sample.offsets[event + 1])) for sample, event in spans
        ]
        origins.append(np.repeat(np.arange(len(spans), dtype="i4"), sizes))
        counts.append(sum(sizes))
    columns = {
        name: np.concatenate([sample.columns[name][part] for sample, part in drawn]) for name in FIELDS
    }
    columns["origin"] = np.concatenate(origins)
    output = Path(os.environ["PRODSYS_OUTPUT"])
    with uproot.recreate(output) as file:
        file.mktree(
            "events",
            {
                **signal.numbers,
                "npileup": np.array([len(events) for events in chosen], dtype="i4"),
                "particle": ak.zip({name: ak.unflatten(column, counts) for name, column in columns.items()}),
            },
        )
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{output.name} {len(counts)}\n")
    mean = np.mean([len(events) for events in chosen])
    print(
        f"{len(counts)} crossings with {mean:.2f} pile-up collisions each (asked: {mu:g}), drawn from {pool}"
    )


if __name__ == "__main__":
    main()
