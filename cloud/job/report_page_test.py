"""Tests of the report for people: its content, and that it refers to no other file."""

import dataclasses
import re

from cloud.evaluate import held_out_verdict
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.report import TaskResult
from cloud.evaluate.success_rate import SuccessRate
from cloud.evaluate.trajectories import Trajectory
from cloud.evaluate.verdict import Gates, decide
from cloud.job.figures import LossPoint
from cloud.job.report_page import RunReport, render
from cloud.testing import records

EVALUATION = records.evaluation_report(
    tasks={
        "push-v3": TaskResult(SuccessRate(50, 50), 70.0),
        "reach-v3": TaskResult(SuccessRate(48, 50), None),
    },
    steps=6000,
)
PAGE = RunReport(
    title="wavecore <for> pi5-cpu",
    run_id="20260101T080000-0123456789ab",
    decision=decide(EVALUATION, Gates(), None),
    evaluation=EVALUATION,
    expert={"push-v3": SuccessRate(50, 50), "reach-v3": SuccessRate(50, 50)},
    history=(LossPoint(50, 0.9), LossPoint(100, 0.2, 0.3)),
    trajectories=(
        Trajectory("reach-v3", "package", [(0.0, 0.6, 0.2), (0.1, 0.7, 0.1)]),
    ),
    figures={"training speed": "50.0 updates/s"},
    provenance={"dataset manifest": "d" * 64, "note": "<script>alert(1)</script>"},
    next_command="./bazelw run //edge:run -- --robot=metaworld:reach-v3",
)


def test_page_shows_verdict_success_losses_and_provenance() -> None:
    page = render(PAGE)
    assert page.startswith("<!DOCTYPE html>")
    for text in (
        "blessed",
        "96.0 % (48 of 50)",
        "100.0 % (50 of 50)",
        "d" * 64,
        "50.0 updates/s",
        "./bazelw run //edge:run",
    ):
        assert text in page
    assert page.count("<svg") == 4
    assert "A success, and each kind of failure" in page


def test_page_refers_to_no_other_resource() -> None:
    page = render(PAGE)
    assert re.findall(r'(?:src|href)="(?!#)[^"]*"', page) == []
    assert re.findall(r"url\((?!#)[^)]*\)", page) == []
    assert "<link" not in page
    assert "<script" not in page
    assert "DOCTYPE svg" not in page


def test_text_from_outside_is_shown_as_text() -> None:
    page = render(PAGE)
    assert "wavecore &lt;for&gt; pi5-cpu" in page
    assert "&lt;script&gt;" in page


def test_same_run_gives_the_same_page() -> None:
    assert render(PAGE) == render(PAGE)


def test_refused_run_shows_the_reasons() -> None:
    poor = dataclasses.replace(
        EVALUATION, tasks={"reach-v3": TaskResult(SuccessRate(1, 50), 490.0)}
    )
    refused = decide(poor, Gates(), None)
    page = render(dataclasses.replace(PAGE, evaluation=poor, decision=refused))
    assert "refused" in page
    assert "1 of 50 episodes" in page


def test_run_without_history_expert_or_trajectory_still_has_a_page() -> None:
    bare = dataclasses.replace(PAGE, history=(), expert={}, trajectories=())
    page = render(bare)
    assert "No update was made" in page
    assert page.count("<svg") == 1


def test_no_name_steers_a_terminal_that_shows_the_page_or_is_read_as_mathematics() -> (
    None
):
    evil = "\x1b[2J\x07\u202e$\\frac$<b>"
    evaluation = records.evaluation_report(
        tasks={evil: TaskResult(SuccessRate(50, 50), 70.0)}, steps=6000
    )
    page = render(
        dataclasses.replace(
            PAGE,
            title=evil,
            evaluation=evaluation,
            decision=decide(evaluation, Gates(), None),
            expert={evil: SuccessRate(50, 50)},
            trajectories=(Trajectory(evil, evil, [(0.0, 0.6, 0.2)]),),
            figures={evil: evil},
            provenance={evil: evil},
            next_command=evil,
        )
    )
    assert page.replace("\n", "").isprintable()
    assert "?[2J??$\\frac$&lt;b&gt;" in page
    assert "<b>" not in page


def test_page_of_a_held_out_verdict_cannot_be_taken_for_one_of_driving() -> None:
    found = records.held_out_report(
        episodes=tuple(
            records.episode_error(k, task=("pour", "<wipe>")[k % 2], day=f"day {k % 3}")
            for k in range(24)
        ),
        split_by=("episode_id",),
    )
    page = render(
        dataclasses.replace(
            PAGE,
            evaluation=found,
            decision=held_out_verdict.decide(found, Gates(), HeldOutGates(), None),
            expert={},
            trajectories=(),
        )
    )
    assert "</span> on held-out evidence" in page
    assert "drove no robot, real or simulated" in page
    assert "Success per task" not in page and "scripted expert" not in page
    assert "task: pour" in page and "task: &lt;wipe&gt;" in page and "day: 2" in page
    assert "held-out episodes: error on pour" in page
    assert "similar ones of the same robot and day were trained on" in page
    assert "on held-out evidence" not in render(PAGE)
