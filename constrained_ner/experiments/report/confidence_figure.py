"""What confidences are worth: a reliability plot, and precision against recall."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingExtraError, OutputError
from ...evaluation import Reliability
from ...evaluation.curves import Curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FORMATS = (".png", ".svg", ".pdf")
_BLUE = "#4c78a8"


def require_plot(path: Path) -> None:
    """Check before any work that a figure can be drawn. Raises MissingExtraError, OutputError."""
    _figure(1)
    if path.suffix.lower() not in _FORMATS:
        raise OutputError(f"{path}: not a figure's name; it ends in {', '.join(_FORMATS)}")


def save_confidence_figure(path: Path, reliability: Reliability | None, curves: Curves | None) -> None:
    """Draw what is given, side by side, into a file in the format of its suffix.

    Raises OutputError, and MissingExtraError without matplotlib.
    """
    figure = _figure((reliability is not None) + (curves is not None))
    if reliability is not None:
        _draw_reliability(figure.axes[0], reliability)
    if curves is not None:
        _draw_curves(figure.axes[-1], curves)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from None


def _draw_reliability(axes: Axes, reliability: Reliability) -> None:
    """Share right against confidence: a bar for each bin, with its size. The diagonal is ideal."""
    filled = [b for b in reliability.bins if b.n]
    shares = [b.share_right or 0.0 for b in filled]
    axes.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    axes.bar(
        [b.low for b in filled],
        shares,
        width=1 / len(reliability.bins),
        align="edge",
        color=_BLUE,
        alpha=0.35,
        edgecolor=_BLUE,
    )
    axes.scatter([b.mean_confidence or 0.0 for b in filled], shares, s=18, color=_BLUE, zorder=3)
    for b, share in zip(filled, shares, strict=True):
        height = min(0.97, share + 0.02)
        axes.text((b.low + b.high) / 2, height, str(b.n), ha="center", fontsize=7, color="0.3")
    ece = "" if reliability.ece is None else f" (ECE {reliability.ece:.3f})"
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="share right", title=f"Reliability{ece}")


def _draw_curves(axes: Axes, curves: Curves) -> None:
    """A curve for each type, with its average precision in the legend."""
    for name, curve in (*curves.by_type.items(), ("all", curves.all)):
        style: dict[str, Any] = {"color": "black", "linewidth": 2} if name == "all" else {}
        label = f"{name} ({curve.average_precision:.2f})"
        axes.step(curve.recall, curve.precision, where="post", label=label, **style)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision", title="Precision and recall")
    axes.legend(title="average precision", fontsize=8, loc="lower left")


def _figure(n_panels: int) -> Any:
    """An empty figure with square panels in a row. Without pyplot: no window, no global state."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "report") from None
    figure = Figure(figsize=(5.2 * n_panels, 5.0), layout="constrained")
    for axes in figure.subplots(1, n_panels, squeeze=False)[0]:
        axes.set_aspect("equal")
    return figure
