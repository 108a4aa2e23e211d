#!/usr/bin/env python3
"""Merge the `events` trees of one run's files, in order: merge_trees.py OUTPUT INPUT...

Refuses inputs of different runs, and inputs whose subruns do not rise from file to file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import uproot


def main() -> None:
    """Merge."""
    output, *sources = sys.argv[1:]
    if not sources:
        raise SystemExit("usage: merge_trees.py OUTPUT INPUT...")
    runs: set[int] = set()
    last_subrun, entries = -1, 0
    with uproot.recreate(output) as merged:
        tree = None
        for source in sources:
            with uproot.open(source) as file:
                columns = file["events"].arrays(library="np")
            subruns = columns["subrun"]
            runs |= set(columns["run"].tolist())
            if len(runs) != 1 or subruns[0] <= last_subrun or np.any(np.diff(subruns) < 0):
                raise SystemExit(
                    f"{source}: runs {sorted(runs)}, subruns from {subruns[0]} after {last_subrun}"
                )
            last_subrun = int(subruns[-1])
            entries += len(subruns)
            if tree is None:
                tree = merged.mktree("events", {name: column.dtype for name, column in columns.items()})
            tree.extend(columns)
    Path(os.environ["PRODSYS_EVENTS_FILE"]).write_text(f"{Path(output).name} {entries}\n")
    print(f"{len(sources)} files, {entries} events")


if __name__ == "__main__":
    main()
