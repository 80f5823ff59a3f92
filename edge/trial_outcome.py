"""How a trial went: by its episode, and by the word of the person who watched it."""

from collections.abc import Callable
from pathlib import Path

from base.digest import sha256_file
from edge.actors.actor import Ending
from edge.control.loop import EpisodeResult
from edge.trial_journal import Begun
from release import trials
from release.trials import Trial
from rlds import reader
from rlds.recovery import RECOVERED_TAG
from rlds.spec import StopRule


def judge(
    result: EpisodeResult, ask: Callable[[], Ending | None]
) -> tuple[str, bool | None]:
    """How a trial went, and what its episode says of its success.

    Args:
        result: what came of the episode.
        ask: asks the person, where nobody knows whether it succeeded; None if they
            cannot say it any more.
    """
    if result.ending is Ending.LOST or result.stopped:
        return trials.BROKEN_OFF, None
    if result.stop_rule is not None:
        return trials.STOPPED, result.success
    if result.ending is Ending.LEFT_OUT:
        return trials.LEFT_OUT, None
    if result.interventions:
        return trials.HELPED, result.success
    success = result.success
    if success is None:
        said = ask()
        if said in (None, Ending.LOST):
            return trials.BROKEN_OFF, None
        if said in (Ending.LEFT_OUT, Ending.STOP):
            return trials.LEFT_OUT, None
        success = said is Ending.SUCCESS
    return trials.SUCCESS if success else trials.FAILURE, success


def read(begun: Begun, path: Path) -> Trial:
    """How a trial went that an earlier process began, by its episode."""
    episode = reader.read_episode(path)
    metadata = episode.metadata
    rule = next((r.value for r in StopRule if r.tag in metadata.tags), "")
    outcome = trials.BROKEN_OFF
    if RECOVERED_TAG not in metadata.tags:
        if rule:
            outcome = trials.STOPPED
        elif metadata.success is not None and episode.steps["intervention"].any():
            outcome = trials.HELPED
        elif metadata.success is not None:
            outcome = trials.SUCCESS if metadata.success else trials.FAILURE
    return Trial(
        begun.pair, begun.arm, outcome, episode.num_steps, rule, (sha256_file(path),)
    )


def tell(trial: Trial) -> str:
    """A trial in words."""
    rule = f" by {trial.stop_rule}" if trial.stop_rule else ""
    counts = "" if trial.counts else ", does not count and is made again"
    return f"{trial.outcome}{rule} after {trial.steps} steps{counts}"
