"""Make docs/performance.md's table of the peers, and docs/images/peers.svg, from the results.

Run by `make bench-peers` in the peers' environment, which has matplotlib; knows nothing of prodsys.
"""

from __future__ import annotations

import json
import statistics
from collections import defaultdict
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt

HERE = Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
BEGIN, END = "<!-- peers: made by benchmarks/peers/table.py -->", "<!-- peers: end -->"
ORDER = ("DAGMan", "DAGMan, tuned", "law", "bps", "Snakemake", "prodsys")
MARKERS = dict(zip(ORDER, "os^vDP", strict=True))

PLAIN = (
    "| N | engine | runs | makespan, s | over the ideal | gen jobs queued a second | queries a second "
    "| engine CPU-s |"
)
KILLED = "| N | engine killed | runs | ended | duplicates | executions broken off | jobs lost | makespan, s |"

Runs = list[dict[str, Any]]


def load(folder: Path) -> Runs:
    """Return every result."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.json"))]


def spread(values: list[float], digits: int = 0) -> str:
    """Return the median, and the range where there is more than one value."""
    middle = f"{statistics.median(values):,.{digits}f}"
    if len(values) == 1:
        return middle
    return f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def good(run: dict[str, Any]) -> bool:
    """Say whether a run did its work."""
    return run["verdict"] == "success" and bool(run.get("merged_in_order"))


def plain_row(n: int, engine: str, runs: Runs) -> str:
    """Return one line of the table of undisturbed runs."""
    done = [run for run in runs if good(run)]
    if not done:
        why = runs[0]["verdict"]
        limit = f" within {runs[0]['limit_s']:.0f} s" if why == "did not finish" else ""
        return f"| {n:,} | {engine} | {len(runs)} | {why}{limit} | | | | |"
    wall = [run["makespan_s"] for run in done]
    return (
        f"| {n:,} | {engine} | {len(done)} | {spread(wall)} "
        f"| {spread([run['makespan_s'] / run['ideal_s'] for run in done], 1)} "
        f"| {spread([n / run['queued_s'] for run in done if 'queued_s' in run], 1)} "
        f"| {spread([run['queries'] / run['makespan_s'] for run in done], 2)} "
        f"| {spread([run['engine_cpu_s'] for run in done], 1)} |"
    )


def killed_row(n: int, engine: str, runs: Runs) -> str:
    """Return one line of the table of killed engines."""
    ended = "; ".join(
        sorted({run["verdict"] if good(run) else f"{run['verdict']}, no good file" for run in runs})
    )
    return (
        f"| {n:,} | {engine} | {len(runs)} | {ended} | {spread([run.get('duplicates', 0) for run in runs])} "
        f"| {spread([run.get('broken_off', 0) for run in runs])} "
        f"| {spread([2 * n + 1 - run.get('jobs_completed', 0) for run in runs])} "
        f"| {spread([run.get('makespan_s', 0.0) for run in runs])} |"
    )


def grouped(runs: Runs) -> list[tuple[int, str, Runs]]:
    """Return the runs by size and engine, in the order of the table."""
    groups: dict[tuple[int, int], Runs] = defaultdict(list)
    for run in runs:
        groups[run["n"], ORDER.index(run["engine"])].append(run)
    return [(n, ORDER[place], found) for (n, place), found in sorted(groups.items())]


def tables(runs: Runs) -> str:
    """Return both tables."""
    plain, killed = [[run for run in runs if run["killed"] is flag] for flag in (False, True)]
    lines = [
        PLAIN,
        "|---|---|---|---|---|---|---|---|",
        *(plain_row(*group) for group in grouped(plain)),
    ]
    if killed:
        lines += [
            "",
            KILLED,
            "|---|---|---|---|---|---|---|---|",
            *(killed_row(*group) for group in grouped(killed)),
        ]
    return "\n".join(lines)


def plot(runs: Runs, file: Path) -> None:
    """Draw makespan over the ideal and CPU time against N: medians, with the range as a bar."""
    plt.rcParams["svg.hashsalt"] = "prodsys"
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    done = [run for run in runs if good(run) and not run["killed"]]
    for axis, (label, value) in zip(
        axes,
        (
            ("makespan / ideal", lambda run: run["makespan_s"] / run["ideal_s"]),
            ("engine CPU-s", lambda run: run["engine_cpu_s"]),
        ),
        strict=True,
    ):
        for engine in ORDER:
            points = [
                (n, sorted(value(run) for run in found)) for n, name, found in grouped(done) if name == engine
            ]
            if points:
                middle = [statistics.median(values) for _, values in points]
                low = [centre - values[0] for centre, (_, values) in zip(middle, points, strict=True)]
                high = [values[-1] - centre for centre, (_, values) in zip(middle, points, strict=True)]
                axis.errorbar(
                    [n for n, _ in points],
                    middle,
                    yerr=[low, high],
                    marker=MARKERS[engine],
                    capsize=3,
                    label=engine,
                )
        axis.set(xscale="log", yscale="log", xlabel="N", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    file.parent.mkdir(exist_ok=True)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Write the tables into the page and the plot beside it."""
    runs = load(HERE / "results")
    page = DOCS / "performance.md"
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{tables(runs)}\n{END}{after}", encoding="utf-8")
    plot(runs, DOCS / "images/peers.svg")
    print(tables(runs))


if __name__ == "__main__":
    main()
