"""Tests of the report on held-out episodes: what it keeps, and what it does not say."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from base import canonical_json
from cloud.errors import EvaluationReportError
from cloud.evaluate import held_out_report, report
from cloud.testing import records
from release import evidence

FOUND = records.held_out_report(
    episodes=(
        records.episode_error(1, 0.02, "pour", robot="robot 10", day="day 2"),
        records.episode_error(2, 0.04, "wipe", robot="robot 2", outcome="failure"),
    )
)


def change(how: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(FOUND.encode())
    how(value)
    return canonical_json.encode(value)


def test_report_survives_a_round_trip_and_keeps_its_digest() -> None:
    parsed = held_out_report.parse(FOUND.encode(), "x")
    assert parsed.encode() == FOUND.encode()
    assert parsed.digest == FOUND.digest
    assert parsed.values("robot") == ("robot 2", "robot 10")
    assert parsed.error.value == pytest.approx(0.03)


def test_report_names_its_evidence_and_is_none_of_a_simulator() -> None:
    raw = FOUND.encode()
    assert evidence.find(raw, "x") == ("held-out",)
    with pytest.raises(EvaluationReportError):
        report.parse(raw, "x")
    with pytest.raises(EvaluationReportError):
        held_out_report.parse(records.evaluation_report().encode(), "x")


def test_largest_report_is_below_the_limit_of_a_package() -> None:
    long = "a task with quite a long name, " * 3
    many = tuple(
        records.episode_error(k, 0.0123456789012345678, f"{long}{k % 40}")
        for k in range(held_out_report.MOST_EPISODES)
    )
    raw = dataclasses.replace(FOUND, episodes=many).encode()
    assert len(raw) < held_out_report.LIMIT_BYTES
    assert held_out_report.parse(raw, "x").tasks[0].startswith(long)


@pytest.mark.parametrize(
    "how",
    [
        lambda v: v.pop("evidence"),
        lambda v: v.update(evidence="simulated"),
        lambda v: v.update(schema_version=2),
        lambda v: v.update(episodes=[]),
        lambda v: v["episodes"].reverse(),
        lambda v: v["episodes"].append(v["episodes"][1]),
        lambda v: v["episodes"][0].update(error=-0.1),
        lambda v: v["episodes"][0].update(error=None),
        lambda v: v["episodes"][0].update(steps=0),
        lambda v: v["episodes"][0]["slices"].update(task=2),
        lambda v: v["episodes"][0]["slices"].update(place=0),
        lambda v: v["slices"].pop("day"),
        lambda v: v.update(package_digest="a"),
        lambda v: v.update(step_latency_us={"p50": "fast", "p99": 1}),
        lambda v: v.update(more=1),
    ],
)
def test_other_bytes_are_one_error(how: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(EvaluationReportError, match="held-out episodes"):
        held_out_report.parse(change(how), "x")
