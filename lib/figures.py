"""One look for every figure of the book: small helpers around Matplotlib.

A figure is an SVG on white ground.  The page inverts its lightness in dark mode, so every colour
below has a contrast of at least 4.5 against the ground in both modes, and any two stay apart for
readers with a colour-vision deficiency (``tests/test_figures.py`` computes both).  No titles are
drawn: the caption is text on the page.
"""

import io
from types import MappingProxyType

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from numpy.typing import ArrayLike

from lib.glue import emit

COLORS = MappingProxyType(
    {
        "blue": "#0067CF",
        "red": "#BF5000",
        "green": "#1E5B2E",
        "purple": "#86257D",
        "grey": "#767676",
        "black": "#1A1A1A",
    }
)

# A 6.4 in figure is 614 px wide on a desk and 358 px on a phone: 12 pt is then 16 px and 9.3 px.
STYLE = MappingProxyType(
    {
        "figure.figsize": (6.4, 3.8),
        "figure.constrained_layout.use": True,
        "figure.facecolor": "white",
        "savefig.facecolor": "white",
        "axes.prop_cycle": mpl.cycler(color=list(COLORS.values())),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.edgecolor": COLORS["black"],
        "axes.labelcolor": COLORS["black"],
        "text.color": COLORS["black"],
        "xtick.color": COLORS["black"],
        "ytick.color": COLORS["black"],
        "font.family": "DejaVu Sans",  # comes with Matplotlib: the same on every machine
        "font.size": 12,
        "axes.labelsize": 12,
        "xtick.labelsize": 11,
        "ytick.labelsize": 11,
        "legend.fontsize": 11,
        "legend.frameon": False,
        "lines.linewidth": 2,
        "lines.markersize": 5,
        "axes.axisbelow": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.8,
        "svg.fonttype": "path",  # glyphs travel with the file: the same shapes on every machine
        "svg.hashsalt": "figure",  # the ids of an SVG are random without a salt
    }
)


def use_style() -> None:
    """Set the look for the figures made from now on; call it once, at the top of a chapter."""
    mpl.rcParams.update(STYLE)


def figure(name: str, fig: Figure) -> None:
    """Hand ``fig`` to the page under ``name`` for ``{glue:figure}``, and close it."""
    emit(name, {"image/svg+xml": svg(fig)})
    plt.close(fig)


def svg(fig: Figure) -> str:
    """Return ``fig`` as SVG text; the same figure gives the same bytes on every run."""
    text = io.StringIO()
    undated = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({k: STYLE[k] for k in ("svg.fonttype", "svg.hashsalt")}):
        fig.savefig(text, format="svg", metadata=undated)
    return text.getvalue()


def band(
    ax: Axes,
    x: ArrayLike,
    runs: ArrayLike,
    *,
    color: str,
    label: str = "",
    between: tuple[float, float] = (0, 1),
    **style: object,
) -> Line2D:
    """Draw the mean of ``runs`` as a line, and a band from the smallest to the largest run.

    ``x`` has shape (points,), ``runs`` (runs, points); ``style`` goes to the line.  The band lies
    ``between`` two quantiles: for hundreds of runs, the extremes say little.

    Raises ValueError when the two do not fit.
    """
    x, runs = np.asarray(x), np.asarray(runs)
    if runs.ndim != 2 or runs.shape[1:] != x.shape:
        raise ValueError(
            f"band: runs has shape {runs.shape}; stack one row per run, each with {x.size} points"
        )
    ax.fill_between(x, *np.quantile(runs, between, axis=0), color=color, alpha=0.2, linewidth=0)
    (line,) = ax.plot(x, runs.mean(0), color=color, label=label, **style)
    return line


def label_lines(ax: Axes, *, gap: float = 1.25) -> None:
    """Write each line's label at its right end, in its colour, instead of a legend.

    Labels that would overlap are moved apart vertically, by as little as possible; ``gap`` is the
    height of a line of text in units of the font size.  Call it after everything else is drawn
    and the axis limits are set.
    """
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    lines = [line for line in lines if line.get_label() and len(_finite(line))]
    # annotation_clip=False: Matplotlib would drop labels of lines that leave the axes.
    labels = [
        ax.annotate(
            line.get_label(),
            _finite(line)[-1],
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            color=line.get_color(),
            annotation_clip=False,
        )
        for line in lines
    ]
    for _ in range(2):  # labels change the layout, and the layout moves the line ends
        ax.get_figure(root=True).draw_without_rendering()
        _place(ax, labels, gap)


def _finite(line: Line2D) -> np.ndarray:
    points = np.column_stack(
        [np.ma.filled(np.ma.asarray(a, float), np.nan) for a in line.get_data()]
    )
    return points[np.isfinite(points).all(axis=1)]


def _place(ax: Axes, labels: list[Annotation], gap: float) -> None:
    to_points = 72 / ax.figure.dpi
    ends = np.array([ax.transData.transform(label.xy)[1] * to_points for label in labels])
    sizes = [gap * label.get_fontsize() * len(label.get_text().split("\n")) for label in labels]
    floor = ax.transAxes.transform((0, 0))[1] * to_points  # below are the ticks
    for label, end, height in zip(labels, ends, spread(ends, sizes, floor), strict=True):
        label.set_position((6, height - end))


def spread(centres: ArrayLike, sizes: ArrayLike, floor: float = -np.inf) -> np.ndarray:
    """Move intervals of these ``sizes`` apart: the nearest centres, in squared distance.

    No interval reaches below ``floor``, and the order of the ``centres`` (n,) is kept.  This is
    isotonic regression, by pooling neighbours that are too close; a bound clips its solution.
    """
    centres = np.asarray(centres, float)
    order = np.argsort(centres, kind="stable")
    size = np.broadcast_to(sizes, centres.shape)[order]
    ramp = np.cumsum(size) - size / 2  # the centres of intervals that touch
    blocks: list[list[float]] = []  # of neighbours that touch: they share one offset, the mean
    for offset in centres[order] - ramp:
        block = [offset]
        while blocks and np.mean(blocks[-1]) > np.mean(block):
            block = blocks.pop() + block
        blocks.append(block)
    moved = np.empty_like(centres)
    offsets = [max(np.mean(block), floor) for block in blocks for _ in block]
    moved[order] = ramp + offsets
    return moved
