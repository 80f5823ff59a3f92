"""How a trial went follows from its episode, and a person is asked only if need be."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from base.digest import sha256_file
from edge import trial_outcome
from edge.actors.actor import Ending
from edge.control.loop import EpisodeResult
from edge.control.step_times import StepTimes
from edge.trial_journal import Begun
from release import trials
from release.trials import Trial
from rlds.recovery import RECOVERED_TAG
from rlds.spec import EpisodeSpec, StopRule
from rlds.testing import episodes

BEGUN = Begun(3, trials.CANDIDATE, "019b7892-1c00-7d15-8162-71f76a1f35ef")
ENDED = EpisodeResult(True, 5, 0, StepTimes(), 0, 0)


def nobody() -> Ending | None:
    raise AssertionError("nobody is to be asked")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (trials.SUCCESS, True)),
        ({"success": False}, (trials.FAILURE, False)),
        ({"interventions": 1}, (trials.HELPED, True)),
        ({"stop_rule": StopRule.STOP_KEY, "success": False}, (trials.STOPPED, False)),
        ({"ending": Ending.LEFT_OUT, "success": None}, (trials.LEFT_OUT, None)),
        ({"ending": Ending.LOST, "success": None}, (trials.BROKEN_OFF, None)),
        ({"stopped": True, "success": None}, (trials.BROKEN_OFF, None)),
    ],
)
def test_episode_that_says_how_it_went_needs_nobody(
    changes: dict[str, Any], expected: tuple[str, bool | None]
) -> None:
    result = dataclasses.replace(ENDED, **changes)
    assert trial_outcome.judge(result, nobody) == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (Ending.SUCCESS, (trials.SUCCESS, True)),
        (Ending.FAILURE, (trials.FAILURE, False)),
        (Ending.LEFT_OUT, (trials.LEFT_OUT, None)),
        (Ending.STOP, (trials.LEFT_OUT, None)),
        (Ending.LOST, (trials.BROKEN_OFF, None)),
        (None, (trials.BROKEN_OFF, None)),
    ],
)
def test_person_says_how_it_went_where_nobody_knows(
    said: Ending | None, expected: tuple[str, bool | None]
) -> None:
    result = dataclasses.replace(ENDED, success=None)
    assert trial_outcome.judge(result, lambda: said) == expected


@pytest.mark.parametrize(
    ("changes", "helped", "expected"),
    [
        ({"success": True}, False, (trials.SUCCESS, "")),
        ({"success": True}, True, (trials.HELPED, "")),
        ({"success": None}, False, (trials.BROKEN_OFF, "")),
        ({"tags": (RECOVERED_TAG,)}, False, (trials.BROKEN_OFF, "")),
        (
            {"success": False, "tags": (StopRule.WORKSPACE.tag,)},
            False,
            (trials.STOPPED, StopRule.WORKSPACE.value),
        ),
    ],
)
def test_trial_that_was_interrupted_is_read_from_its_episode(
    tmp_path: Path,
    changes: dict[str, Any],
    helped: bool,
    expected: tuple[str, str],
) -> None:
    # The made-up steps of a robot that can be corrected are so in two of three.
    spec = EpisodeSpec(3, 2, interventions=True)
    count = 5 if helped else 1
    path = tmp_path / "episode.tfrecord"
    made = episodes.episode(spec, count, **changes)
    path.write_bytes(episodes.frame_episode(made))
    outcome, rule = expected
    found = trial_outcome.read(BEGUN, path)
    digest = sha256_file(path)
    assert found == Trial(3, trials.CANDIDATE, outcome, count, rule, (digest,))


def test_trial_is_told_in_one_line() -> None:
    stopped = Trial(0, trials.CANDIDATE, trials.STOPPED, 7, "workspace", ())
    assert trial_outcome.tell(stopped).endswith("by workspace after 7 steps")
    broken = Trial(0, trials.CANDIDATE, trials.BROKEN_OFF, 7, "", ())
    assert "does not count and is made again" in trial_outcome.tell(broken)
