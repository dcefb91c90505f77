"""Draws lines and points with matplotlib, each as one SVG for light and one for dark pages.

An SVG in an `<img>` loads and runs nothing, whatever the names of models and types contain.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

_SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito 2008
_INK = "#010203"  # placeholder for the colour of text and lines, replaced once the SVG is there
_BAR = "#4a9bd1"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")  # seven, so that a repeated colour gets another marker
_SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # names may contain dollar signs
    "svg.fonttype": "none",  # keep text as text: small, sharp, any script
    "svg.hashsalt": "constrained-ner",  # the same bytes on every run
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture. alt: its content in words. light, dark: data URIs."""

    caption: str
    alt: str
    light: str
    dark: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A value in [0, 1], with or without an interval."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a plot. label: the text beside it."""

    x: float
    bar: Bar
    label: str = ""


def lines(
    panels: Mapping[str, Mapping[str, Sequence[Point]]],
    *,
    x_label: str,
    y_label: str,
    caption: str,
    logarithmic: bool = False,
) -> Figure:
    """A panel for each measure, with a line for each series through its points, from left to right.

    logarithmic: the horizontal axis; all places are above 0 then.
    """

    def paint(canvas: Canvas, ink: str) -> None:
        axes = canvas.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, (title, series) in zip(axes, panels.items(), strict=True):
            places = sorted({p.x for points in series.values() for p in points})
            for n, (name, points) in enumerate(series.items()):
                colour, marker = _SERIES[n % len(_SERIES)], _MARKERS[n % len(_MARKERS)]
                # Shifted a little, so that whiskers do not cover each other.
                side = n - (len(series) - 1) / 2
                shift = side * 0.008 * (places[-1] - places[0])
                xs = [p.x * 1.02**side if logarithmic else p.x + shift for p in points]
                ys = [100 * p.bar.value for p in points]
                ax.plot(xs, ys, color=colour, marker=marker, markersize=5, label=_printable(name))
                for x, point in zip(xs, points, strict=True):
                    _whisker(ax, point.bar, colour, x)
            if logarithmic:
                ax.set_xscale("log")
                ax.minorticks_off()
            ax.set(title=_printable(title), xlabel=x_label, xticks=places)
            ax.set_xticklabels([f"{place:,.6g}" for place in places])
            ax.grid(axis="y", alpha=0.25)
        axes[0].set_ylabel(y_label)
        axes[0].set_ylim(bottom=0)
        n_series = max(map(len, panels.values()))
        if n_series > 1:
            handles, labels = axes[0].get_legend_handles_labels()
            canvas.legend(handles, labels, loc="outside lower center", ncols=n_columns)

    alt = "; ".join(
        f"{title}, {name}: " + ", ".join(f"{p.x:g}: {100 * p.bar.value:.1f}" for p in points)
        for title, series in panels.items()
        for name, points in series.items()
    )
    n_columns, n_rows = _legend_shape([name for series in panels.values() for name in series])
    return _draw(paint, (10, 3.4 + 0.2 * n_rows), caption, alt)


def _legend_shape(names: Iterable[str]) -> tuple[int, int]:
    """Columns and rows of a legend no wider than ten inches."""
    lengths = [len(_printable(name)) for name in dict.fromkeys(names)]
    column_inches = 0.6 + 0.085 * max(lengths)
    n_columns = max(1, min(3, len(lengths), int(10 / column_inches)))
    return n_columns, -(-len(lengths) // n_columns)


def scatter(points: Sequence[Point], *, x_label: str, y_label: str, caption: str) -> Figure:
    """Labelled points. The horizontal axis is logarithmic if they are far apart."""

    def paint(canvas: Canvas, ink: str) -> None:
        ax = canvas.subplots()
        xs = [p.x for p in points]
        ax.scatter(xs, [100 * p.bar.value for p in points], color=_BAR, s=30, zorder=3)
        for point in points:
            _whisker(ax, point.bar, _BAR, point.x)
            ax.annotate(
                _printable(point.label),
                (point.x, 100 * point.bar.value),
                xytext=(6, 4),
                textcoords="offset points",
                color=ink,
            )
        if min(xs) > 0 and max(xs) > 10 * min(xs):
            ax.set_xscale("log")
        else:
            ax.set_xlim(left=0)
        ax.set(xlabel=x_label, ylabel=y_label)
        ax.grid(alpha=0.25)

    alt = "; ".join(f"{p.label}: {p.x:.3g} s, {100 * p.bar.value:.1f}" for p in points)
    return _draw(paint, (10, 3.8), caption, alt)


def _draw(
    paint: Callable[[Canvas, str], None], size_inches: tuple[float, float], caption: str, alt: str
) -> Figure:
    svg = _svg(paint, size_inches)
    light, dark = (_data_uri(svg.replace(_INK, ink)) for ink in ("#1f2328", "#d7dae0"))
    return Figure(caption, alt, light, dark)


def _data_uri(svg: str) -> str:
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _svg(paint: Callable[[Canvas, str], None], size_inches: tuple[float, float]) -> str:
    try:
        import matplotlib
        from matplotlib.figure import Figure as Canvas
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    inks: tuple[Any, ...] = (
        "text.color",
        "axes.labelcolor",
        "axes.edgecolor",
        "xtick.color",
        "ytick.color",
        "grid.color",
    )
    buffer = io.BytesIO()
    with matplotlib.rc_context({**_SETTINGS, **dict.fromkeys(inks, _INK)}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a name in a script that the font does not have
        canvas = Canvas(figsize=size_inches, layout="constrained")
        paint(canvas, _INK)
        canvas.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return buffer.getvalue().decode()


def _whisker(ax: Axes, bar: Bar, colour: str, at: float) -> None:
    if bar.low is not None and bar.high is not None:
        ax.vlines(at, 100 * bar.low, 100 * bar.high, color=colour, linewidth=1.1, alpha=0.7)


def _printable(text: str) -> str:
    """The text without characters that an SVG cannot contain, shortened to the length of a label."""
    shown = "".join(c if c.isprintable() else "\ufffd" for c in text)
    return shown if len(shown) <= 48 else f"{shown[:30]}…{shown[-17:]}"
