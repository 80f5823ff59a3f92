"""Tests of the verdict on held-out episodes: each gate from both sides."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from cloud.evaluate import held_out_verdict
from cloud.evaluate.held_out_report import HeldOutReport
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.verdict import Baseline, Decision, Gates, Verdict
from cloud.testing import records


def report(
    error: Callable[[int], float] = lambda k: 0.02 + 0.001 * (k % 5),
    count: int = 24,
    **changes: Any,
) -> HeldOutReport:
    """A report that passes every gate; episode k has the error that `error` gives."""
    episodes = tuple(
        records.episode_error(k, error=error(k), task=("pour", "wipe")[k % 2])
        for k in range(count)
    )
    return records.held_out_report(**{"episodes": episodes} | changes)


def decide(
    found: HeldOutReport,
    before: HeldOutReport | None = None,
    gates: HeldOutGates | None = None,
) -> Decision:
    baseline = None if before is None else Baseline(before.package_digest, before)
    return held_out_verdict.decide(found, Gates(), gates or HeldOutGates(), baseline)


def failed(decision: Decision) -> list[str]:
    return [f.gate for f in decision.findings if f.verdict is not Verdict.BLESSED]


def other(found: HeldOutReport, **changes: Any) -> HeldOutReport:
    return dataclasses.replace(found, package_digest="b" * 64, **changes)


def test_good_first_package_is_blessed_and_every_gate_says_what_it_rests_on() -> None:
    decision = decide(report())
    assert decision.verdict is Verdict.BLESSED
    assert decision.evidence == ("held-out",)
    assert all(f.gate.startswith("held-out episodes: ") for f in decision.findings)
    assert not any("success" in reason for reason in decision.reasons)
    assert decision.report_digest == report().digest


def test_package_that_is_far_away_is_refused_with_interval_and_task() -> None:
    decision = decide(report(lambda k: 0.3 + 0.01 * (k % 5)))
    assert decision.verdict is Verdict.REFUSED
    assert failed(decision)[:3] == [
        "held-out episodes: error",
        "held-out episodes: error on pour",
        "held-out episodes: error on wipe",
    ]
    assert "over 24 episodes, allowed 0.1" in decision.reasons[0]


def test_one_task_that_is_far_away_refuses_a_good_mean() -> None:
    found = report(lambda k: 0.15 + 0.001 * k if k % 2 else 0.01)
    decision = decide(found, gates=HeldOutGates(maximum_held_out_error=0.12))
    assert "held-out episodes: error on wipe" in failed(decision)
    assert "held-out episodes: error" not in failed(decision)
    assert decision.verdict is Verdict.REFUSED


def test_few_episodes_leave_it_undecided_and_say_how_many_are_needed() -> None:
    decision = decide(report(count=6))
    assert decision.verdict is Verdict.UNDECIDED
    assert "an interval needs 8 episodes" in " ".join(decision.reasons)
    assert "split.val_groups" in decision.reasons[0]


def test_package_no_closer_than_an_action_that_never_changes_is_refused() -> None:
    found = report(lambda k: 0.05 + 0.001 * (k % 3))
    still = tuple(
        dataclasses.replace(one, constant_error=0.06) for one in found.episodes
    )
    decision = decide(dataclasses.replace(found, episodes=still))
    assert failed(decision) == [
        "held-out episodes: against an action that never changes"
    ]
    assert decision.verdict is Verdict.REFUSED


def test_day_on_which_a_package_is_far_away_refuses_it() -> None:
    found = report(lambda k: 0.2 + 0.01 * (k % 3) if k < 8 else 0.02, count=60)
    episodes = tuple(
        dataclasses.replace(
            one, slices={**one.slices, "day": "day 1" if k < 8 else "day 2"}
        )
        for k, one in enumerate(found.episodes)
    )
    found = dataclasses.replace(found, episodes=episodes)
    decision = decide(found, gates=HeldOutGates(maximum_held_out_error=0.15))
    assert failed(decision) == ["held-out episodes: error on day 1"]
    assert decision.verdict is Verdict.REFUSED


def test_same_error_as_the_channel_on_each_episode_is_blessed() -> None:
    assert decide(report(), other(report())).verdict is Verdict.BLESSED


def test_package_that_is_worse_than_the_channel_is_refused_by_pairs() -> None:
    hard: Callable[[int], float] = lambda k: 0.01 + 0.06 * (k % 6) / 6  # noqa: E731
    decision = decide(report(lambda k: hard(k) * 1.15), other(report(hard)))
    assert failed(decision) == ["held-out episodes: against the channel"]
    assert decision.verdict is Verdict.REFUSED
    assert "on the same 24 episodes" in decision.reasons[0]
    assert "allowed 5% more" in decision.reasons[0]


def test_task_on_which_a_package_is_clearly_worse_refuses_a_better_mean() -> None:
    found = report(lambda k: 0.02 if k % 2 else 0.03)
    before = report(lambda k: 0.06 if k % 2 else 0.02)
    decision = decide(found, other(before))
    assert failed(decision) == ["held-out episodes: against the channel on pour"]


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest_digest": "e" * 64},
        {"action_maximum": (2.0, 2.0)},
        {"episodes": report(count=23).episodes},
    ],
)
def test_other_episodes_or_another_unit_decide_nothing(changes: dict[str, Any]) -> None:
    decision = decide(report(), other(report(), **changes))
    assert decision.verdict is Verdict.UNDECIDED
    assert "other episodes or within other limits" in decision.reasons[0]


def test_channel_whose_package_cannot_be_replayed_decides_nothing() -> None:
    baseline = Baseline[HeldOutReport]("b" * 64, None, "another robot")
    decision = held_out_verdict.decide(report(), Gates(), HeldOutGates(), baseline)
    assert decision.verdict is Verdict.UNDECIDED
    assert decision.reasons == (
        "held-out episodes: against the channel: package bbbbbbbbbbbb could not be "
        "evaluated: another robot",
    )


@pytest.mark.parametrize(
    "changes", [{"step_latency_p50_us": 1e6}, {"safety_violations": 1}]
)
def test_slow_or_unsafe_step_is_refused(changes: dict[str, Any]) -> None:
    assert decide(report(**changes)).verdict is Verdict.REFUSED


def test_step_that_was_not_timed_decides_nothing() -> None:
    assert decide(report(step_latency_p50_us=None)).verdict is Verdict.UNDECIDED


def test_split_by_episode_is_said() -> None:
    found = report(split_by=("episode_id",))
    assert (
        "similar ones of the same robot and day were trained on"
        in (decide(found).reasons[0])
    )
    assert "similar" not in decide(report()).reasons[0]


@pytest.mark.parametrize("field", dataclasses.fields(HeldOutGates))
def test_share_out_of_range_is_refused(field: dataclasses.Field[float]) -> None:
    with pytest.raises(ValueError, match=f"{field.name}: expected a share"):
        HeldOutGates(**{field.name: 1.5})
