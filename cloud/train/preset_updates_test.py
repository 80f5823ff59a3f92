"""The presets for accelerators train: real updates of their whole models, on a CPU.

Dtype, parts of a batch and remat are those of the preset; the batch and its windows are
smaller. On 2 shared cores it took 28 to 55 s and 3.6 to 4.1 GB.
"""

import gc
from collections.abc import Iterator

import jax
import numpy as np
import pytest

from cloud.dataset import training_data
from cloud.dataset.window_batches import Windows
from cloud.testing import training_episodes
from cloud.train import mesh
from cloud.train.config import TrainConfig
from cloud.train.update import Trainer
from model.config import PRESET_TRAINING

UPDATES, WINDOW_STEPS = 2, 16


def fingerprints(parameters: dict[str, jax.Array]) -> dict[str, np.float64]:
    """Returns one number per parameter array, because a second copy takes 0.4 GB."""
    return {n: np.abs(x).sum(dtype=np.float64) for n, x in parameters.items()}


@pytest.fixture
def freed() -> Iterator[None]:
    """Frees programs and arrays before the next preset."""
    yield
    gc.collect()
    jax.clear_caches()


@pytest.mark.usefixtures("freed")
@pytest.mark.parametrize(
    ("preset", "least"),
    [("rtx3050", 2.3e7), pytest.param("vertex", 1e8, marks=pytest.mark.long)],
)
def test_preset_for_an_accelerator_takes_updates(preset: str, least: float) -> None:
    defaults = PRESET_TRAINING[preset]
    config = TrainConfig(
        steps=100,
        warmup_steps=0,
        preset=preset,
        batch_size=max(2, defaults.accumulation_steps),
        sequence_length=WINDOW_STEPS,
        compute_dtype=defaults.compute_dtype,
    ).for_platform("cpu")
    assert config.compute_dtype == "bfloat16"
    assert config.accumulation_steps == defaults.accumulation_steps
    assert (config.remat == "on") == defaults.remat
    data = training_data.join_episodes(
        training_episodes.episodes(12), training_episodes.TASKS
    )
    trainer = Trainer(data, None, config, mesh.single())
    assert trainer.parameter_count > least
    windows = Windows(data.steps, config.batch_size, WINDOW_STEPS, 0)
    state = trainer.initial_state()
    before = fingerprints(state["parameters"])
    for update in range(UPDATES):
        state, measured = trainer.update(state, windows.batch(update))
        for name, value in measured.items():
            assert np.isfinite(value), name
    assert measured["gradient_norm"] > 0
    after = fingerprints(state["parameters"])
    assert all(np.isfinite(x) for x in after.values())
    # Only the value head learns from rewards, and these episodes have none.
    still = {name for name, x in after.items() if x == before[name]}
    assert still == {"value_head", "value_bias"}
