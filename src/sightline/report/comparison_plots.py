"""The plots of a comparison: accuracy against time, precision over recall, differences with their intervals."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from sightline.evaluation.bootstrap import Comparison
from sightline.report.comparison_data import ComparedRun, ComparedSystem
from sightline.report.figures import COLOURS, INK, add_legend, axes_for, legend_label, shortened

_MARKERS = "osD^vP*X"


def speed_plot(systems: Sequence[ComparedSystem]) -> str:
    """AP over milliseconds an image: filled with proposals, hollow with proposals given; empty without a time."""
    shown = [(index, s) for index, s in enumerate(systems) if s.mean("milliseconds") and s.mean("AP") is not None]
    if not shown:
        return ""
    caption = "AP over milliseconds an image of each system"
    with axes_for("speed", "AP against the time of an image", "ms an image", "AP", caption=caption) as canvas:
        canvas.axes.set_xscale("log")
        plain = FuncFormatter(_plain)
        canvas.axes.xaxis.set_major_formatter(plain)
        canvas.axes.xaxis.set_minor_formatter(plain)
        for index, system in shown:
            _speed_point(canvas.axes, system, *_look(index))
        if any(system.mean("proposal_milliseconds") is not None for _, system in shown):
            canvas.axes.plot([], [], "o", color=INK, fillstyle="none", label="with proposals given")
        _room(canvas.axes, [system.mean("AP") or 0.0 for _, system in shown])
        add_legend(canvas.axes)
    return canvas.svg


def _speed_point(axes: Axes, system: ComparedSystem, colour: str, marker: str) -> None:
    time, given, ap = (system.mean(key) or 0.0 for key in ("milliseconds", "given_milliseconds", "AP"))
    error, across = system.deviation("AP"), system.deviation("milliseconds")
    style = {"color": colour, "markersize": 7}
    axes.errorbar([time], [ap], yerr=error, xerr=across, fmt=marker, label=_label(system), **style)  # type: ignore[arg-type]
    if given and given != time:
        axes.plot([given], [ap], marker, color=colour, markersize=7, fillstyle="none")
        axes.plot([given, time], [ap, ap], ":", color=colour, linewidth=1.0)


def training_plot(systems: Sequence[ComparedSystem]) -> str:
    """AP of the validation split over minutes of training; a line a run; empty where nothing was trained."""
    lines = [(index, system, run) for index, system in enumerate(systems) for run in system.runs if _curve(run)[0]]
    if not lines:
        return ""
    caption = "Validation AP over minutes of training of each system"
    title = "AP of the validation split while training"
    with axes_for("training-time", title, "minutes", "AP", caption=caption) as canvas:
        named: set[int] = set()
        for index, system, run in lines:
            colour, marker = _look(index)
            label = None if index in named else _label(system)
            named.add(index)
            minutes, values = _curve(run)
            canvas.axes.plot(minutes, values, f"-{marker}", color=colour, alpha=0.8, label=label)
        canvas.axes.set_xlim(left=0)
        _room(canvas.axes, [value for *_, run in lines for value in _curve(run)[1]])
        add_legend(canvas.axes)
    return canvas.svg


def curves_plot(systems: Sequence[ComparedSystem]) -> str:
    """Precision over recall at IoU 0.5, the mean over classes, of each system; empty where nothing was judged."""
    found = [(index, s, *_mean_curve(s)) for index, s in enumerate(systems) if s.evaluation is not None]
    found = [each for each in found if each[2]]
    if not found:
        return ""
    title = "Precision and recall at IoU 0.5, mean over classes"
    with axes_for("curves", title, "recall", "precision", caption="Precision over recall of each system") as canvas:
        for index, system, recall, precision in found:
            canvas.axes.plot(recall, precision, color=_look(index)[0], label=_label(system))
        canvas.axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
        add_legend(canvas.axes)
    return canvas.svg


def differences_plot(comparisons: Sequence[Comparison]) -> str:
    """The difference of AP of each pair with its interval; empty without a pair that can be compared."""
    shown = [each for each in comparisons if not math.isnan(each.overall[0].low)]
    if not shown:
        return ""
    height = 1.1 + 0.3 * max(3, len(shown))
    title = "Difference of AP with its interval"
    with axes_for("differences", title, "", "", caption="Difference of AP of each pair", height=height) as canvas:
        canvas.axes.axvline(0, color=INK, linewidth=1.0, alpha=0.6)
        for row, each in enumerate(shown):
            found = each.overall[0]
            colour = {"A is better": COLOURS[4], "B is better": COLOURS[0]}.get(found.verdict, INK)
            canvas.axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.4)
            canvas.axes.plot([found.difference], [row], "o", color=colour, markersize=6)
        names = [f"{shortened(each.models[0], 16)} less {shortened(each.models[1], 16)}" for each in shown]
        canvas.axes.set_yticks(range(len(shown)), names)
        canvas.axes.set_ylim(max(3, len(shown)) - 0.4, -0.6)
        canvas.axes.grid(False, axis="y")
    return canvas.svg


def _plain(value: float, _place: int | None) -> str:
    """A tick of a logarithmic axis; those that stand close to others have no number."""
    leading = value / 10 ** math.floor(math.log10(value))
    return f"{value:g}" if round(leading) in (1, 2, 3, 5) else ""


def _look(index: int) -> tuple[str, str]:
    return COLOURS[index % len(COLOURS)], _MARKERS[index % len(_MARKERS)]


def _label(system: ComparedSystem) -> str:
    return legend_label(system.name)


def _room(axes: Axes, values: Sequence[float]) -> None:
    """From 0 to what is reached, with room above it: small numbers would lie on the axis."""
    axes.set_ylim(0, min(1.02, max(0.05, 1.2 * max(values))))


def _curve(run: ComparedRun) -> tuple[list[float], list[float]]:
    """Minutes and AP of the rows that have one."""
    pairs = [(row.get("seconds"), row.get("val/AP")) for row in run.history]
    known = [(s / 60, ap) for s, ap in pairs if isinstance(s, float) and isinstance(ap, float) and math.isfinite(ap)]
    return [minutes for minutes, _ in known], [ap for _, ap in known]


def _mean_curve(system: ComparedSystem) -> tuple[list[float], list[float]]:
    assert system.evaluation is not None
    curves = [curve for curve in system.evaluation.result.curves if len(curve.recall)]
    if not curves:
        return [], []
    mean = np.mean([curve.precision for curve in curves], axis=0)
    return curves[0].recall.tolist(), mean.tolist()
