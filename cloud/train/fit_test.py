"""Training learns, resumes exactly after a kill, and refuses bad data early."""

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cloud.dataset import training_data
from cloud.dataset.training_data import TrainingData
from cloud.errors import CheckpointError, DatasetError, DivergenceError
from cloud.testing import train_tiny, training_episodes
from cloud.train import checkpoints, fit, profile, update
from model import step_function
from rlds.episode import Episode

UPDATES = 8
data = functools.partial(training_data.join_episodes, tasks=training_episodes.TASKS)
ORBAX_MARKS = ("_CHECKPOINT_METADATA", "commit_success.txt")

Uninterrupted = tuple[Path, bytes, fit.FitResult, list[fit.Progress]]
"""Folder of the checkpoints, weights, result and reports of a whole run."""


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    folder = tmp_path_factory.mktemp("uninterrupted")
    seen: list[fit.Progress] = []
    result = train_tiny.train(folder, UPDATES, seen.append)
    return folder, train_tiny.weights(result), result, seen


def run_apart(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return subprocess.run(
        [sys.executable, "-m", "cloud.testing.train_tiny", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_killed_and_resumed_training_ends_with_the_bytes_of_an_uninterrupted_run(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    output = tmp_path / "weights"
    killed = run_apart(tmp_path / "saved", output, UPDATES, 5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not output.exists()
    again = train_tiny.train(tmp_path / "saved", UPDATES)
    assert again.resumed_from in (2, 4)  # saving goes on while training does
    assert train_tiny.weights(again) == uninterrupted[1]


@pytest.mark.long  # update_test has the loss alone
def test_training_does_not_depend_on_the_unit_of_commands(tmp_path: Path) -> None:
    def take(count: int, first: int, reach: float) -> TrainingData:
        some = data(training_episodes.episodes(count, first=first))
        commands = some.steps.actions * np.float32(reach)
        steps = some.steps._replace(actions=commands)
        scaled = dataclasses.replace(some, steps=steps)
        return scaled.with_reach(np.full(some.sizes[1], reach, np.float32))

    found = []
    for reach in (1.0, 64.0):
        result = fit.fit(
            take(4, 0, reach),
            take(2, 100, reach),
            train_tiny.config(2),
            tmp_path / f"reach {reach}",
            lambda progress: None,
            make_model=train_tiny.one_block,
        )
        weights = step_function.weights(result.model)
        np.testing.assert_array_equal(weights.pop(step_function.ACTION_REACH), reach)
        found.append((weights, result.history[-1].loss))
    assert found[0][1] == found[1][1]
    jax.tree.map(np.testing.assert_array_equal, found[0][0], found[1][0])


@pytest.mark.long  # what such a kill leaves is made by a rename in a test below
def test_checkpoint_of_a_trainer_killed_while_saving_is_not_used(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    saved, output = tmp_path / "saved", tmp_path / "weights"
    killed = run_apart(saved, output, UPDATES, "saving")
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    left = [path.name for path in saved.iterdir() if path.is_dir()]
    assert left and not any(name.isdecimal() for name in left)
    notes: list[str] = []
    result = train_tiny.train(saved, UPDATES, on_note=notes.append)
    assert result.resumed_from is None
    assert len(notes) == len(left) and "interrupted save" in notes[0]
    assert train_tiny.weights(result) == uninterrupted[1]


@pytest.mark.parametrize(
    "done",
    [
        UPDATES - 1,
        *(pytest.param(k, marks=pytest.mark.long) for k in range(1, UPDATES - 1)),
    ],
)
def test_resuming_from_any_update_gives_the_same_bytes(
    uninterrupted: Uninterrupted, tmp_path: Path, done: int
) -> None:
    """A run that has only the checkpoint of `done` updates repeats the rest exactly."""

    class StopError(Exception):
        pass

    def stop(progress: fit.Progress) -> None:
        if progress.update == done + 1:
            raise StopError

    with pytest.raises(StopError):
        train_tiny.train(tmp_path, UPDATES, stop, checkpoint_period_updates=done)
    result = train_tiny.train(tmp_path, UPDATES)
    assert result.resumed_from == done
    assert train_tiny.weights(result) == uninterrupted[1]


def test_restarted_finished_run_trains_nothing_and_returns_the_same(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder, weights, _, _ = uninterrupted
    shutil.copytree(folder, tmp_path / "copy")
    result = train_tiny.train(tmp_path / "copy", UPDATES)
    assert result.resumed_from == UPDATES and result.history == ()
    assert train_tiny.weights(result) == weights


def test_half_written_checkpoint_is_removed_with_a_note_and_the_one_before_used(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder, weights, _, _ = uninterrupted
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / str(UPDATES)).rename(copy / f"{UPDATES}.orbax-checkpoint-tmp")
    notes: list[str] = []
    result = train_tiny.train(copy, UPDATES, on_note=notes.append)
    assert result.resumed_from == UPDATES - 2
    assert len(notes) == 1 and "interrupted save" in notes[0]
    assert not (copy / f"{UPDATES}.orbax-checkpoint-tmp").exists()
    assert train_tiny.weights(result) == weights


def copy_as_a_bucket_does(folder: Path, copy: Path) -> None:
    """Copies files only: no empty folders, no times, none of Orbax's marks."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in ORBAX_MARKS:
            to = copy / path.relative_to(folder)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(path.read_bytes())


def test_checkpoint_copied_to_a_bucket_and_back_is_whole(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    folder, weights, _, _ = uninterrupted
    copy_as_a_bucket_does(folder, tmp_path / "copy")
    result = train_tiny.train(tmp_path / "copy", UPDATES, on_note=pytest.fail)
    assert result.resumed_from == UPDATES
    assert train_tiny.weights(result) == weights


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:100])


def do_damage(folder: Path, done: int, damage: Callable[[Path], None]) -> None:
    """Applies `damage` to the largest file of a checkpoint, which holds arrays."""
    files = [path for path in (folder / str(done)).rglob("*") if path.is_file()]
    damage(max(files, key=lambda path: path.stat().st_size))


@pytest.mark.parametrize("damage", [empty, cut, Path.unlink])
def test_checkpoint_that_is_not_whole_is_moved_aside_and_the_one_before_used(
    uninterrupted: Uninterrupted, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    folder, weights, _, _ = uninterrupted
    copy_as_a_bucket_does(folder, tmp_path / "copy")
    do_damage(tmp_path / "copy", UPDATES, damage)
    notes: list[str] = []
    result = train_tiny.train(tmp_path / "copy", UPDATES, on_note=notes.append)
    assert result.resumed_from == UPDATES - 2
    assert len(notes) == 1 and f"{UPDATES}: moved to {UPDATES}.not_whole" in notes[0]
    assert (tmp_path / "copy" / f"{UPDATES}.not_whole").exists()
    assert train_tiny.weights(result) == weights


def test_training_does_not_start_over_when_no_checkpoint_is_whole(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    copy_as_a_bucket_does(uninterrupted[0], tmp_path / "copy")
    for done in (UPDATES, UPDATES - 2):
        do_damage(tmp_path / "copy", done, empty)
    with pytest.raises(CheckpointError, match="whole checkpoint, got 2 that are not"):
        train_tiny.train(tmp_path / "copy", UPDATES)
    kept = sorted(p.name for p in (tmp_path / "copy").iterdir() if p.is_dir())
    assert kept == [f"{UPDATES - 2}.not_whole", f"{UPDATES}.not_whole"]


def test_checksum_detects_changed_values_and_swapped_rows(tmp_path: Path) -> None:
    """Such changes are what silent errors of a file system or a copy leave."""
    like = {"a": jnp.arange(6.0).reshape(2, 3), "b": jnp.ones(3)}
    checksum = checkpoints.checksum
    assert checksum(like) != checksum(like | {"b": jnp.array([1.0, 1.0, 1.0000001])})
    assert checksum(like) != checksum(like | {"a": like["a"][::-1]})
    assert checksum(like) != checksum(like | {"a": like["a"][:, ::-1]})
    assert checksum(like) == checksum(jax.tree.map(jnp.copy, like))


def test_checkpoints_of_another_configuration_are_refused_and_kept(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(uninterrupted[0], copy)
    with pytest.raises(CheckpointError, match="another"):
        train_tiny.train(copy, UPDATES + 2)
    assert (copy / str(UPDATES)).exists()


def test_reports_state_the_progress(uninterrupted: Uninterrupted) -> None:
    _, _, result, seen = uninterrupted
    assert [p.update for p in seen] == list(range(1, UPDATES + 1))
    assert tuple(seen) == result.history
    missed = seen[-1].validation_action_loss
    assert seen[-1].remaining_s == 0 and missed is not None and missed > 0


@pytest.mark.long  # it falls in sensed_steps_test too
def test_loss_falls_and_is_not_validated_without_held_out_episodes(
    tmp_path: Path,
) -> None:
    config = dataclasses.replace(
        train_tiny.config(80), checkpoint_period_updates=80, report_period_updates=20
    )
    history = fit.fit(
        data(training_episodes.episodes(12)),
        None,
        config,
        tmp_path,
        lambda progress: None,
    ).history
    assert history[-1].action_loss < 0.7 * history[0].action_loss
    assert history[-1].validation_action_loss is None


def fit_on(
    episodes: list[Episode],
    folder: Path,
    tasks: tuple[str, ...] = training_episodes.TASKS,
    **changes: Any,
) -> fit.FitResult:
    config = dataclasses.replace(train_tiny.config(2), **changes)
    given = data(episodes, tasks=tasks)
    return fit.fit(
        *(given, None, config, folder, lambda progress: None),
        make_model=train_tiny.one_block,
    )


def test_unknown_task_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="'right'"):
        fit_on(training_episodes.episodes(4), tmp_path / "saved", tasks=("left",))
    assert not (tmp_path / "saved").exists()


def test_too_few_steps_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least 100 steps"):
        fit_on(training_episodes.episodes(2), tmp_path / "saved", sequence_length=100)
    with pytest.raises(DatasetError, match="got 0"):
        fit_on([], tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_diverging_training_is_an_error_and_keeps_the_last_whole_checkpoint(
    tmp_path: Path,
) -> None:
    saved = tmp_path / "saved"
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        fit_on(training_episodes.episodes(4), saved, learning_rate=1e38, updates=6)
    assert [path.name for path in saved.iterdir() if path.is_dir()] in (["2"], [])


@pytest.mark.parametrize("change", [{"updates": 0}, {"preset": "huge"}])
def test_config_out_of_range_is_refused(
    change: dict[str, Any],
) -> None:
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(train_tiny.config(2), **change)


def test_statistics_are_those_of_the_training_episodes_only(
    uninterrupted: Uninterrupted,
) -> None:
    states = np.concatenate(
        [e.steps["observation/state"] for e in training_episodes.episodes(12)]
    )
    np.testing.assert_allclose(uninterrupted[2].model.mean[...], states.mean(0), 1e-4)


def test_held_out_error_does_not_depend_on_the_size_of_pieces(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """17 held-out steps in one piece, or in pieces that end within episodes."""
    whole = [p.validation_action_loss for p in uninterrupted[3]]
    monkeypatch.setattr(update, "_HELD_OUT_AT_ONCE", 5)
    seen: list[fit.Progress] = []
    train_tiny.train(tmp_path, UPDATES, seen.append)
    found = [p.validation_action_loss for p in seen]
    assert [x is None for x in found] == [x is None for x in whole]
    np.testing.assert_allclose(
        [x for x in found if x is not None], [x for x in whole if x is not None], 1e-6
    )


def test_profile_of_a_few_updates_is_written(tmp_path: Path) -> None:
    with train_tiny.share_trainers():
        fit.fit(
            data(training_episodes.episodes(12)),
            None,
            train_tiny.config(UPDATES),
            tmp_path / "saved",
            lambda progress: None,
            profile=profile.ProfileRange(3, 4),
            profile_dir=tmp_path / "tensorboard",
            make_model=train_tiny.one_block,
        )
    traces = list((tmp_path / "tensorboard").rglob("*.xplane.pb"))
    assert len(traces) == 1 and traces[0].stat().st_size > 1000


@pytest.mark.long  # of the model, wavecore_test finds a wrong gradient
def test_mixed_precision_trains_close_to_full_and_keeps_f32(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    result = train_tiny.train(tmp_path, UPDATES, compute_dtype="bfloat16")
    full = uninterrupted[2].history[-1].measured
    for name, value in result.history[-1].measured.items():
        assert value == pytest.approx(full[name], rel=0.05, abs=0.02), name
    assert result.history[-1].loss != uninterrupted[2].history[-1].loss
    assert result.model.encode_state[...].dtype == jnp.float32


@pytest.mark.long  # of the model, wavecore_test finds a wrong gradient
def test_remat_changes_only_rounding(
    uninterrupted: Uninterrupted, tmp_path: Path
) -> None:
    result = train_tiny.train(tmp_path, UPDATES, remat="on")
    full = uninterrupted[2].history[-1].measured
    for name, value in result.history[-1].measured.items():
        assert value == pytest.approx(full[name], rel=1e-4, abs=1e-5), name
