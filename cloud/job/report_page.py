"""The report of a training run for people: one HTML file without other files."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence

from base.errors import printable_lines
from cloud.evaluate import held_out_table
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.held_out_verdict import describe_split
from cloud.evaluate.report import EvaluationReport
from cloud.evaluate.success_rate import SuccessRate, interval_text
from cloud.evaluate.trajectories import Trajectory
from cloud.evaluate.verdict import Decision, Verdict
from cloud.job import animation, plots
from cloud.job.figures import LossPoint

_STYLE = """
body { font: 15px/1.5 sans-serif; color: #1c1f23; background: #fff;
       max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: .2rem; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid #e1e4e8; }
table { border-collapse: collapse; width: 100%; margin: .8rem 0; }
th, td { text-align: left; padding: .25rem .8rem .25rem 0; vertical-align: top;
         border-bottom: 1px solid #eef0f2; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.value, code { font-family: monospace; font-size: .9em; overflow-wrap: anywhere; }
pre { background: #f5f6f8; padding: .8rem; overflow-x: auto; }
.verdict { display: inline-block; padding: .1rem .6rem; border-radius: .3rem;
           font-weight: bold; }
.blessed { background: #d8f0dd; color: #14532b; }
.refused { background: #fadcd9; color: #7a1a12; }
.undecided { background: #fdf0cf; color: #6b4a05; }
svg { max-width: 100%; height: auto; }
"""


@dataclasses.dataclass(frozen=True)
class RunReport:
    """Everything that the page shows."""

    title: str
    run_id: str
    decision: Decision
    evaluation: EvaluationReport | HeldOutReport
    expert: Mapping[str, SuccessRate]
    history: Sequence[LossPoint]
    trajectories: Sequence[Trajectory]
    figures: Mapping[str, str]
    """Figures for the top of the page, label to text."""
    provenance: Mapping[str, str]
    """What the package was made from, label to text."""
    next_command: str


def render(run: RunReport) -> str:
    """Returns the page as HTML text."""
    sections = [
        _heading(run),
        *_found(run),
        "<h2>Gates</h2>",
        _gates_table(run.decision),
        "<h2>Losses</h2>",
        plots.losses(run.history) if run.history else "<p>No update was made.</p>",
        "<h2>Control step</h2>",
        _latency_table(run.evaluation),
    ]
    if run.trajectories:
        sections += [
            "<h2>Sample trajectories</h2>",
            "<p>Path of the gripper in closed loop; a dot marks the start.</p>",
            plots.trajectories(run.trajectories),
            "<h2>A success, and each kind of failure</h2>",
            "<p>The gripper from above and from the side, as fast as it was, in a box "
            "of its path. Green: the robot did what it was asked to.</p>",
            animation.draw(run.trajectories),
        ]
    sections += [
        "<h2>Provenance</h2>",
        _pairs_table(run.provenance),
        "<h2>Run next</h2>",
        "<p>ARTIFACTS is the root of runs and channels, KEYS the keyring's folder, and "
        "ROBOT a folder for the robot's state.</p>",
        f"<pre>{html.escape(run.next_command)}</pre>",
    ]
    # The plots hold names from outside as well, so the whole page is looked at.
    return printable_lines(
        "<!DOCTYPE html>\n"
        f'<html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(run.title)}</title><style>{_STYLE}</style></head>\n"
        "<body>\n" + "\n".join(sections) + "\n</body></html>\n"
    )


def _found(run: RunReport) -> list[str]:
    """What the evaluation found, as its kind is; nobody shall take one for another."""
    found = run.evaluation
    if isinstance(found, HeldOutReport):
        *slices, every = held_out_table.rows(found)
        described = html.escape(describe_split(found))
        return [
            "<h2>Held-out episodes by slice</h2>",
            "<p>The package was replayed recorded episodes that it never saw. It drove "
            "no robot, real or simulated: nothing here says how often it succeeds. "
            f"{html.escape(held_out_table.UNIT.capitalize())}. {described}.</p>",
            _table(
                list(held_out_table.COLUMNS),
                [list(row) for row in (*slices, every)],
                numbers_from=1,
            ),
        ]
    return [
        "<h2>Success per task</h2>",
        plots.success_per_task(
            {task: result.success for task, result in found.tasks.items()},
            run.expert,
        ),
        _success_table(found, run.expert),
    ]


def _heading(run: RunReport) -> str:
    verdict = run.decision.verdict.value
    reasons = (
        ""
        if run.decision.verdict is Verdict.BLESSED
        else "<ul>"
        + "".join(f"<li>{html.escape(reason)}</li>" for reason in run.decision.reasons)
        + "</ul>"
    )
    return (
        f"<h1>{html.escape(run.title)}</h1>"
        f"<p>Run <code>{html.escape(run.run_id)}</code>, package "
        f"<code>{html.escape(run.evaluation.package_digest)}</code></p>"
        f'<p>Verdict: <span class="verdict {verdict}">{verdict}</span>'
        f"{html.escape(run.decision.on_evidence)}</p>"
        f"{reasons}{_pairs_table(run.figures)}"
    )


def _success_table(found: EvaluationReport, experts: Mapping[str, SuccessRate]) -> str:
    rows = []
    for task, result in sorted(found.tasks.items()):
        rows.append(
            [
                task,
                rate_text(result.success),
                interval_text(result.success),
                rate_text(experts.get(task)),
                "-" if result.mean_steps is None else f"{result.mean_steps:.1f}",
            ]
        )
    expert = sum(
        (experts[task] for task in found.tasks if task in experts),
        start=SuccessRate(0, 0),
    )
    every = found.success
    rows.append(
        ["all tasks", rate_text(every), interval_text(every), rate_text(expert), ""]
    )
    header = ["task", "package", "95 % interval", "scripted expert", "mean steps"]
    return _table(header, rows, numbers_from=1)


def _gates_table(decision: Decision) -> str:
    rows = "".join(
        f"<tr><td>{html.escape(f.gate)}</td>"
        f'<td><span class="verdict {f.verdict.value}">{_outcome(f.verdict)}</span></td>'
        f"<td>{html.escape(f.reason)}</td></tr>"
        for f in decision.findings
    )
    return f"<table><tr><th>gate</th><th></th><th>found</th></tr>{rows}</table>"


def _outcome(verdict: Verdict) -> str:
    names = {Verdict.BLESSED: "passed", Verdict.REFUSED: "failed"}
    return names.get(verdict, "undecided")


def _latency_table(evaluation: EvaluationReport | HeldOutReport) -> str:
    missed = (
        {}
        if isinstance(evaluation, HeldOutReport)  # replayed at no pace
        else {"missed deadlines": count_text(evaluation.missed_deadlines)}
    )
    return _pairs_table(
        {
            "step latency, 50th percentile": latency_text(
                evaluation.step_latency_p50_us
            ),
            "step latency, 99th percentile": latency_text(
                evaluation.step_latency_p99_us
            ),
            "control steps": f"{evaluation.steps:,}",
            **missed,
            "safety violations": count_text(evaluation.safety_violations),
        }
    )


def _pairs_table(pairs: Mapping[str, str]) -> str:
    rows = "".join(
        f'<tr><th>{html.escape(label)}</th><td class="value">{html.escape(text)}</td>'
        "</tr>"
        for label, text in pairs.items()
    )
    return f"<table>{rows}</table>"


def _table(header: list[str], rows: list[list[str]], numbers_from: int) -> str:
    def cells(texts: list[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class="number"' if column >= numbers_from else ''}>"
            f"{html.escape(text)}</{tag}>"
            for column, text in enumerate(texts)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(header, 'th')}</tr>{body}</table>"


def rate_text(success: SuccessRate | None) -> str:
    """Formats a rate with its counts, such as `98.0 % (49 of 50)`."""
    if success is None or not success.episodes:
        return "-"
    return f"{100 * success.rate:.1f} % ({success.successes} of {success.episodes})"


def latency_text(value: float | None) -> str:
    """Formats a latency in microseconds; `not measured` for None."""
    return "not measured" if value is None else f"{value:,.0f} us"


def count_text(value: int | None) -> str:
    """Formats a count; `not measured` for None."""
    return "not measured" if value is None else f"{value:,}"
