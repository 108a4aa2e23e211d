"""Plots of a report as SVG that stands in the page; each is beside its table, which has the same numbers."""

from __future__ import annotations

import io
import re
import threading
from datetime import UTC, datetime
from itertools import accumulate, cycle
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from include.reports.figures import TimeLine

INK = "#010203"
"""Stands for the page's own text colour, so that one plot fits light and dark pages."""
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's, which colour-blind people can tell apart; line styles differ as well."""
STYLES = ("-", "--", "-.", ":")
SIZE_INCHES = (8.0, 3.2)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_DRAWING = threading.Lock()
"""matplotlib's settings are those of the whole process, and pages are made in many threads."""
_ID = re.compile(r'\b(id="|href="#|url\(#)')


def accepted_over_time(line: TimeLine) -> str:
    """Return how far each stage was when: percent of its subruns, or subruns where no whole is told."""
    shares = all(each.whole for each in line.lines)

    def draw(axes: Axes) -> None:
        times = _times(line)
        looks = zip(cycle(COLOURS), cycle(STYLES), strict=False)
        for each, (colour, style) in zip(line.lines, looks, strict=False):
            scale = 100 / each.whole if shares and each.whole else 1
            values = [0, *(scale * subruns for subruns in accumulate(each.subruns))]
            axes.plot(times, values, color=colour, linestyle=style, label=each.name, linewidth=2)
        axes.set_ylabel("accepted, % of subruns" if shares else "accepted subruns")
        axes.set_ylim(bottom=0, top=105 if shares else None)

    return _svg(draw, "accepted")


def ended_over_time(line: TimeLine) -> str:
    """Return how many jobs ended well and otherwise in each interval."""

    def draw(axes: Axes) -> None:
        times = _times(line)
        axes.stairs(line.good, times, fill=True, color=COLOURS[0], label="good", alpha=0.8)
        top = [good + bad for good, bad in zip(line.good, line.bad, strict=True)]
        axes.stairs(
            top, times, baseline=line.good, fill=True, color=COLOURS[1], label="not good", hatch="///"
        )
        axes.set_ylabel("jobs that ended")
        axes.set_ylim(bottom=0)

    return _svg(draw, "ended")


def _times(line: TimeLine) -> list[Any]:
    """Return the edges of the intervals as matplotlib's numbers."""
    from matplotlib.dates import date2num

    edges = [line.start + number * line.width_s for number in range(len(line.good) + 1)]
    numbers: Any = date2num([datetime.fromtimestamp(at, tz=UTC) for at in edges])  # type: ignore[no-untyped-call]
    return list(numbers)


def _svg(draw: Any, name: str) -> str:
    """Return the plot; `name` keeps its ids apart from those of others in the page."""
    import matplotlib as mpl  # takes a second, and only reports need it
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none", "svg.hashsalt": name, "text.parse_math": False,
        "font.family": "sans-serif", "font.size": 10,
        "axes.edgecolor": INK, "axes.labelcolor": INK, "text.color": INK, "xtick.color": INK,
        "ytick.color": INK, "hatch.linewidth": 0.6,
    }  # fmt: skip
    with _DRAWING, mpl.rc_context(settings):
        figure = Figure(figsize=SIZE_INCHES, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        _dress(axes)
        text = _written(figure)
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    text = _ID.sub(lambda found: f"{found[0]}{name}-", _METADATA.sub("", text))
    return text.replace("<svg ", '<svg role="img" ', 1)


def _dress(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=UTC)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=INK, alpha=0.15)
    axes.set_xlabel("UTC")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _written(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return file.getvalue()
