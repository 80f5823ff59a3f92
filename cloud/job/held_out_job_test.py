"""From a dataset of a robot without a simulator to a package that says what judged it.

The robot's own program replays the episodes; training, export, signing and the channel
are the real ones, of a tiny model.
"""

import dataclasses
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cloud import programs
from cloud.errors import BlindRobotError, ProgramMissingError, UnsuitableRobotError
from cloud.evaluate import held_out_report
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.verdict import Gates, Verdict
from cloud.job import job
from cloud.job.outcome import Outcome
from cloud.job.settings import DatasetSettings, JobSettings, RunSettings
from cloud.testing import dataset_version, train_tiny, training_episodes
from model.testing.episodes import shorten_replay
from release import verification
from release.trusted_keys import TrustedKeys
from rlds.episode import Episode

LAX = HeldOutGates(
    maximum_held_out_error=1.0, minimum_held_out_gain=0.0, held_out_margin=1.0
)


def as_desk(episode: Episode) -> Episode:
    """The same episode, of a machine that no simulator has."""
    metadata = dataclasses.replace(
        episode.metadata,
        robot_model="desk-arm",
        environment_id="desk",
        operator="human",
        tags=("demonstration",),
    )
    return dataclasses.replace(episode, metadata=metadata)


def settings(folder: Path, **changes: Any) -> JobSettings:
    version = folder / "version"
    if not version.exists():
        train = list(map(as_desk, training_episodes.episodes(12)))
        held_out = list(map(as_desk, training_episodes.episodes(20, first=100)))
        dataset_version.write(version, {"train": [train], "val": [held_out]})
    given: dict[str, Any] = {
        "dataset": DatasetSettings(location=str(version)),
        "train": train_tiny.config(300, checkpoint_period_updates=100),
        "evaluate": EvaluateSettings(environment="none"),
        "gates": Gates(maximum_step_latency_us=1e9),
        "held_out_gates": LAX,
        "run": RunSettings(store=str(folder / "store"), code_commit="c0ffee"),
    }
    return JobSettings(**(given | changes)).on_this_machine(None)


def run(given: JobSettings) -> tuple[Outcome, str]:
    text = io.StringIO()
    console = Console(file=text, width=100)
    with shorten_replay():
        outcome = job.run(given, console, datetime.now(UTC))
    outcome.show(console)
    return outcome, text.getvalue()


def read_trusted(outcome: Outcome) -> TrustedKeys:
    return TrustedKeys.read(outcome.keyring, allow_development=True)


@pytest.mark.long
def test_robot_without_a_simulator_gets_a_verdict_and_a_channel_that_name_it(
    tmp_path: Path,
) -> None:
    outcome, said = run(settings(tmp_path))
    assert outcome.decision.verdict is Verdict.BLESSED, outcome.decision.findings
    assert outcome.published
    assert "verdict   blessed on held-out evidence" in said
    assert "held-out error" in said
    verified = verification.verify_package(
        outcome.package, read_trusted(outcome), datetime.now(UTC), "pi5-cpu", None
    )
    assert verified.blessing.evidence == ("held-out",)
    assert verified.provenance.evidence == ("held-out",)
    assert all(r.startswith("held-out episodes: ") for r in verified.blessing.reasons)
    raw = (outcome.package / "evaluation.json").read_bytes()
    assert raw == (outcome.report.parent / "evaluation.json").read_bytes()
    found = held_out_report.parse(raw, "evaluation.json")
    assert found.package_digest == verified.digest
    assert len(found.episodes) == 20
    assert {one.slices["actor"] for one in found.episodes} == {"human"}
    chosen = verified.manifest.metadata.metrics["export_replayed"]
    assert isinstance(chosen, dict) and chosen["episodes"] == 12
    page = outcome.report.read_text()
    assert "on held-out evidence" in page and "drove no robot" in page
    summary = json.loads(outcome.summary())
    assert summary["evidence"] == ["held-out"] and "success" not in summary
    first = outcome.evaluation.digest
    # The next package is compared with this one, on the same episodes.
    second, _ = run(settings(tmp_path, train=train_tiny.config(2)))
    (against,) = [
        f for f in second.decision.findings if f.gate.endswith("against the channel")
    ]
    assert f"package {verified.digest[:12]} has " in against.reason
    assert "on the same 20 episodes" in against.reason
    assert second.evaluation.digest != first
    assert not list(second.report.parent.glob("logs/baseline")), "its report was there"


@pytest.mark.long
def test_far_away_package_is_refused_and_a_task_without_episodes_is_said_before(
    tmp_path: Path,
) -> None:
    train = list(map(as_desk, training_episodes.episodes(12)))
    lefts = [as_desk(training_episodes.episode(k)) for k in range(100, 120, 2)]
    dataset_version.write(tmp_path / "version", {"train": [train], "val": [lefts]})
    gates = HeldOutGates(maximum_held_out_error=0.01)
    given = settings(tmp_path, train=train_tiny.config(2), held_out_gates=gates)
    outcome, said = run(given)
    before, _, after = said.partition(" starts")
    assert "fewer than 8 episodes are held out of right (0)" in " ".join(before.split())
    assert "held-out episodes: error: " in after
    assert outcome.decision.verdict is Verdict.REFUSED
    assert not outcome.published
    assert not list(tmp_path.glob("store/**/channels/*.json"))


@pytest.mark.parametrize("environment", ["metaworld", "nonsuch"])
def test_environment_that_lacks_the_robot_ends_it_before_anything_is_trained(
    tmp_path: Path, environment: str
) -> None:
    asked = EvaluateSettings(environment=environment)
    with pytest.raises(UnsuitableRobotError) as e:
        run(settings(tmp_path, evaluate=asked))
    assert "none if no simulator has" in str(e.value)
    assert "\n" not in str(e.value)
    assert not list(tmp_path.glob("store/**/checkpoints"))


def test_missing_program_of_the_robot_ends_it_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = settings(tmp_path)
    monkeypatch.setattr(programs, "root", lambda: tmp_path / "absent")
    with pytest.raises(ProgramMissingError, match="//edge/run"):
        run(given)
    assert not list(tmp_path.glob("store/**/checkpoints"))


def test_senses_that_cannot_be_replayed_end_it_before_anything_is_trained(
    tmp_path: Path,
) -> None:
    episodes = [as_desk(training_episodes.sensed_episode(k)) for k in range(4)]
    dataset_version.write(
        tmp_path / "version", {"train": [episodes[:2]], "val": [episodes[2:]]}
    )
    with pytest.raises(BlindRobotError, match="a replay of episodes, which has none"):
        run(settings(tmp_path))
    assert not list(tmp_path.glob("store/**/checkpoints"))
