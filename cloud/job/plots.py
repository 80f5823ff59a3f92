"""The report's plots, drawn as SVG text that is embedded in a page.

They refer to no fonts, scripts or other files, so a page with these plots can be
mailed, archived and opened without a network.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from base.errors import one_line
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.job.figures import LossPoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL_COLOR = "#1f5fa8"
EXPERT_COLOR = "#b0b7c0"
VALIDATION_COLOR = "#c8571b"


def losses(history: Sequence[LossPoint]) -> str:
    """Draws training and validation loss over updates."""
    figure, axes = _figure(6.4, 3.2)
    axes.plot(
        [point.update for point in history],
        [point.train_loss for point in history],
        color=MODEL_COLOR,
        linewidth=1.2,
        label="train",
    )
    validated = [
        (point.update, loss)
        for point in history
        if (loss := point.validation_loss) is not None
    ]
    if validated:
        axes.plot(
            [update for update, _ in validated],
            [loss for _, loss in validated],
            color=VALIDATION_COLOR,
            marker="o",
            markersize=3,
            linewidth=1.2,
            label="validation",
        )
    values = [point.train_loss for point in history if math.isfinite(point.train_loss)]
    if values and min(values) > 0:
        axes.set_yscale("log")
    axes.set_xlabel("update")
    axes.set_ylabel("loss")
    axes.legend(frameon=False)
    return _svg(figure, "losses")


def success_per_task(
    model: Mapping[str, SuccessRate], expert: Mapping[str, SuccessRate]
) -> str:
    """Draws success per task with 95 % intervals, the model beside the expert."""
    tasks = sorted(model)
    figure, axes = _figure(6.4, 0.9 + 0.55 * max(1, len(tasks)))
    for offset, rates, color, label in (
        (0.2, expert, EXPERT_COLOR, "scripted expert"),
        (-0.2, model, MODEL_COLOR, "package"),
    ):
        shown = [(row, rates[task]) for row, task in enumerate(tasks) if task in rates]
        shown = [(row, rate) for row, rate in shown if rate.episodes]
        if not shown:
            continue
        intervals = [rate.interval() for _, rate in shown]
        axes.barh(
            [row + offset for row, _ in shown],
            [100 * rate.rate for _, rate in shown],
            height=0.36,
            color=color,
            label=label,
            xerr=[
                [
                    100 * max(0.0, r.rate - low)
                    for (_, r), (low, _) in zip(shown, intervals, strict=True)
                ],
                [
                    100 * max(0.0, high - r.rate)
                    for (_, r), (_, high) in zip(shown, intervals, strict=True)
                ],
            ],
            error_kw={"elinewidth": 1.0, "capsize": 2.5, "ecolor": "#333333"},
        )
    axes.set_yticks(range(len(tasks)), list(map(one_line, tasks)))
    axes.invert_yaxis()
    axes.set_xlim(0, 104)
    axes.set_xlabel("episodes that succeeded, %")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
    return _svg(figure, "success")


def trajectories(shown: Sequence[Trajectory]) -> str:
    """Draws the gripper's paths, seen from above and from the side."""
    figure, _ = _figure(6.4, 3.2, axes=False)
    above = figure.add_subplot(1, 2, 1)
    side = figure.add_subplot(1, 2, 2)
    for trajectory in shown:
        x, y, z = zip(*trajectory.positions_m, strict=True)
        label = one_line(f"{trajectory.task}, {trajectory.label}")
        above.plot(x, y, linewidth=1.2, label=label)
        side.plot(y, z, linewidth=1.2)
        above.plot(x[:1], y[:1], "o", color="#333333", markersize=3)
        side.plot(y[:1], z[:1], "o", color="#333333", markersize=3)
    above.set_xlabel("x, m")
    above.set_ylabel("y, m")
    side.set_xlabel("y, m")
    side.set_ylabel("z, m")
    for axes in (above, side):
        _plain(axes)
    figure.legend(
        *above.get_legend_handles_labels(),
        frameon=False,
        loc="outside upper center",
        fontsize=8,
    )
    return _svg(figure, "trajectories")


def _figure(
    width_in: float, height_in: float, axes: bool = True
) -> tuple[Figure, Axes]:
    # Imported here because importing matplotlib takes a second, and only the report
    # needs it.
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["text.parse_math"] = False  # a task's name may hold a dollar sign
    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    plain = figure.add_subplot() if axes else None
    if plain is not None:
        _plain(plain)
    return figure, plain  # type: ignore[return-value]


def _plain(axes: Axes) -> None:
    axes.spines["top"].set_visible(False)
    axes.spines["right"].set_visible(False)
    axes.grid(visible=True, color="#e6e8eb", linewidth=0.6)
    axes.set_axisbelow(True)


def _svg(figure: Figure, name: str) -> str:
    """Returns the figure's SVG element, the same bytes for the same figure."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(
            text,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
