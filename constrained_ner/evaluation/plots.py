"""Figures of calibration and of precision against recall, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtraError, OutputError
from .calibration import Reliability
from .curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Panel = Callable[["Axes"], None]
_FORMATS = (".png", ".svg", ".pdf")


def require_plot(path: Path) -> None:
    """Raise before any work what would be raised after it: MissingExtraError, OutputError."""
    _figure(1)
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(f"{path}: figures are written as {', '.join(_FORMATS)}")


def save_figure(path: Path, panels: Sequence[Panel]) -> None:
    """Draw the panels side by side into a file; its suffix is the format. Raises OutputError."""
    figure = _figure(len(panels))
    for n, panel in enumerate(panels, start=1):
        panel(figure.add_subplot(1, len(panels), n))
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def reliability_panel(reliability: Reliability, title: str = "Reliability") -> Panel:
    """Share right against confidence, a bar each bin with its number of mentions; the diagonal is ideal."""

    def draw(axes: Axes) -> None:
        filled = [b for b in reliability.bins if b.n]
        axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
        axes.bar(
            [b.low for b in filled],
            [b.share_right or 0.0 for b in filled],
            width=1 / len(reliability.bins),
            align="edge",
            color="#4c78a8",
            alpha=0.35,
            edgecolor="#4c78a8",
        )
        means = [b.mean_confidence or 0.0 for b in filled]
        axes.scatter(means, [b.share_right or 0.0 for b in filled], s=18, color="#4c78a8", zorder=3)
        for b in filled:
            height = min(0.97, (b.share_right or 0.0) + 0.02)
            axes.text((b.low + b.high) / 2, height, str(b.n), ha="center", fontsize=7, color="0.3")
        ece = "" if reliability.ece is None else f" (ECE {reliability.ece:.3f})"
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right", title=title + ece)
        axes.set_aspect("equal")

    return draw


def curves_panel(curves: Curves, title: str = "Precision and recall") -> Panel:
    """A curve each type, the numbers of mentions and the average precision in the legend."""

    def draw(axes: Axes) -> None:
        for name, curve in (*curves.by_type.items(), ("all", curves.all)):
            label = f"{name} ({curve.average_precision:.2f})"
            style: dict[str, Any] = {"color": "black", "linewidth": 2} if name == "all" else {}
            axes.step(curve.recall, curve.precision, where="post", label=label, **style)
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title=title)
        axes.legend(title="average precision", fontsize=8, loc="lower left")
        axes.set_aspect("equal")

    return draw


def _figure(n_panels: int) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    return Figure(figsize=(5.2 * n_panels, 5.0), layout="constrained")
