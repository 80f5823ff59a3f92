"""Training learns, resumes to the bit after a kill, and refuses bad data at once."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from cloud import training
from cloud.errors import CheckpointError, DatasetError, DivergenceError
from cloud.testing import train_tiny, training_episodes

STEPS = 8


COMPILED_ONCE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}


@pytest.fixture(scope="module", autouse=True)
def compiled_once(tmp_path_factory):
    """Compiles each program once for all tests and processes of this file."""
    folder = str(tmp_path_factory.mktemp("compiled"))
    for name, value in COMPILED_ONCE.items():
        jax.config.update(name.lower(), int(value))
    jax.config.update("jax_compilation_cache_dir", folder)
    return folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, compiled_once):
    folder = tmp_path_factory.mktemp("uninterrupted")
    seen = []
    result = train_tiny.train(folder, STEPS, seen.append)
    return folder, train_tiny.weights(result), result, seen


def run_apart(compiled, *arguments):
    environment = {
        **os.environ,
        **COMPILED_ONCE,
        "JAX_COMPILATION_CACHE_DIR": compiled,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return subprocess.run(
        [sys.executable, "-m", "cloud.testing.train_tiny", *map(str, arguments)],
        env=environment,
        capture_output=True,
        timeout=280,
        check=False,
    )


def test_killed_trainer_run_again_ends_with_the_bytes_of_an_uninterrupted_one(
    uninterrupted, compiled_once, tmp_path
):
    output = tmp_path / "weights"
    killed = run_apart(compiled_once, tmp_path / "saved", output, STEPS, 5)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()[-2000:]
    assert not output.exists()
    again = run_apart(compiled_once, tmp_path / "saved", output, STEPS)
    assert again.returncode == 0, again.stderr.decode()[-2000:]
    assert output.read_bytes() == uninterrupted[1]


@pytest.mark.parametrize("step", [2, 4, 6])
def test_resumed_from_any_checkpoint_the_bytes_are_the_same(
    uninterrupted, tmp_path, step
):
    """A run that kept only the checkpoint of `step` repeats the rest exactly."""

    class StopError(Exception):
        pass

    def stop(progress):
        if progress.step == step + 1:
            raise StopError

    with pytest.raises(StopError):
        train_tiny.train(tmp_path, STEPS, stop)
    result = train_tiny.train(tmp_path, STEPS)
    assert result.resumed_from == step
    assert train_tiny.weights(result) == uninterrupted[1]


def test_finished_run_started_again_trains_nothing_and_returns_the_same(
    uninterrupted, tmp_path
):
    folder, weights, _, _ = uninterrupted
    shutil.copytree(folder, tmp_path / "copy")
    result = train_tiny.train(tmp_path / "copy", STEPS)
    assert result.resumed_from == STEPS and result.history == ()
    assert train_tiny.weights(result) == weights


def test_half_written_checkpoint_is_removed_with_a_note_and_the_one_before_used(
    uninterrupted, tmp_path
):
    folder, weights, _, _ = uninterrupted
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / str(STEPS)).rename(copy / f"{STEPS}.orbax-checkpoint-tmp")
    notes = []
    result = train_tiny.train(copy, STEPS, on_note=notes.append)
    assert result.resumed_from == STEPS - 2
    assert len(notes) == 1 and "interrupted save" in notes[0]
    assert not (copy / f"{STEPS}.orbax-checkpoint-tmp").exists()
    assert train_tiny.weights(result) == weights


def test_damaged_checkpoint_is_an_error_that_names_it(uninterrupted, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(uninterrupted[0], copy)
    for path in (copy / str(STEPS)).rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"{STEPS}: expected a checkpoint"):
        train_tiny.train(copy, STEPS)
    assert (copy / str(STEPS)).exists()


def test_checkpoints_of_another_configuration_are_refused_and_kept(
    uninterrupted, tmp_path
):
    copy = tmp_path / "copy"
    shutil.copytree(uninterrupted[0], copy)
    with pytest.raises(CheckpointError, match="another"):
        train_tiny.train(copy, STEPS + 2)
    assert (copy / str(STEPS)).exists()


def test_reports_say_where_training_is_and_the_loss_falls(tmp_path, uninterrupted):
    _, _, result, seen = uninterrupted
    assert [p.step for p in seen] == list(range(1, STEPS + 1))
    assert tuple(seen) == result.history
    assert seen[-1].remaining_s == 0 and seen[-1].validation_action_loss > 0
    config = dataclasses.replace(
        train_tiny.config(80), checkpoint_period_steps=80, report_period_steps=20
    )
    history = training.fit(
        training_episodes.episodes(12),
        [],
        training_episodes.TASKS,
        config,
        tmp_path,
        lambda progress: None,
    ).history
    assert history[-1].action_loss < 0.7 * history[0].action_loss
    assert history[-1].validation_action_loss is None


def fit_on(episodes, folder, tasks=training_episodes.TASKS, **changes):
    config = dataclasses.replace(train_tiny.config(2), **changes)
    return training.fit(episodes, [], tasks, config, folder, lambda progress: None)


def test_unknown_task_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DatasetError, match="'right'"):
        fit_on(training_episodes.episodes(4), tmp_path / "saved", tasks=("left",))
    assert not (tmp_path / "saved").exists()


def test_too_few_steps_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DatasetError, match="at least 101 steps"):
        fit_on(training_episodes.episodes(2), tmp_path / "saved", sequence_length=100)
    with pytest.raises(DatasetError, match="got 0"):
        fit_on([], tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_diverging_training_says_so_and_keeps_the_last_whole_checkpoint(tmp_path):
    saved = tmp_path / "saved"
    with pytest.raises(DivergenceError, match="lower the learning rate"):
        fit_on(training_episodes.episodes(4), saved, learning_rate=1e38, steps=6)
    assert [path.name for path in saved.iterdir() if path.is_dir()] in (["2"], [])


@pytest.mark.parametrize("change", [{"steps": 0}, {"preset": "huge"}])
def test_config_out_of_range_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(train_tiny.config(2), **change)


def test_statistics_are_of_the_training_episodes_alone(uninterrupted):
    states = np.concatenate(
        [e.steps["observation/state"] for e in training_episodes.episodes(12)]
    )
    np.testing.assert_allclose(uninterrupted[2].model.mean[...], states.mean(0), 1e-4)
