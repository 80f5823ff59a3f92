import json
from pathlib import Path

import jax.numpy as jnp
import pytest
from absl import flags

from tests.benchmarks import commands, model_speed

_MODELS = (
    "wavecore sequential",
    "wavecore associative",
    "wavecore chunked",
    "lstm",
    "gru",
    "transformer",
)


def measured(path: Path, *arguments: str) -> dict[str, dict[str, object]]:
    """Figures of a small run, by name."""
    done = commands.run(
        *("model_speed.py", "--batch_size=2", "--repeats=2"),
        *(*arguments, f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    assert "matrix peak" in done.stdout
    return {one["name"]: one for one in json.loads(path.read_bytes())}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    return measured(
        tmp_path_factory.mktemp("figures") / "model.json",
        *("--preset=tiny", "--length=8", "--dtype=float32"),
        *("--engine=litert int8", "--control_steps=200"),
    )


def test_every_model_is_measured(figures) -> None:
    for name in _MODELS:
        assert figures[f"train {name} T=8"]["value"] > 0
        assert 0 < figures[f"train {name} T=8 utilisation"]["value"] < 1
        assert figures[f"train {name} T=8 memory"]["value"] > 0


@pytest.fixture(scope="module")
def seed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """Of the preset whose size the other models have."""
    return measured(
        tmp_path_factory.mktemp("seed") / "model.json",
        *("--preset=seed", "--model=wavecore sequential", "--model=lstm"),
        *("--part=training", "--length=4", "--length=8"),
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_utilisation_is_of_the_matrix_peak_in_the_dtype_of_the_row(seed, dtype) -> None:
    peak = seed[f"matrix peak {dtype}"]
    assert peak["value"] > 0
    told = "wavecore sequential" + (" bfloat16" if dtype == "bfloat16" else "")
    for length in (4, 8):
        name = f"train {told} T={length}"
        used = seed[f"{name} utilisation"]
        assert used["unit"] == f"of matrix peak {dtype}"
        # The peak told is the highest of the run, so the share of it is the smallest.
        flop = 6 * seed[f"{name} parameters"]["value"] * seed[name]["value"]
        assert used["value"] >= 0.999 * flop / (1e9 * peak["value"])
        assert used["value"] < 1


def test_row_is_divided_by_the_peak_of_its_own_dtype(monkeypatch) -> None:
    # Peaks that no machine has, so that the wrong one shows.
    peaks = {"float32": 1.0, "bfloat16": 1e30}
    monkeypatch.setattr(model_speed, "_matrix_peak", peaks.__getitem__)
    flags.FLAGS(["model_speed", "--batch_size=2", "--repeats=1"])
    used = {
        dtype: model_speed._train(
            *("one", dtype, 4, {"w": jnp.ones(4)}), lambda p, _: p["w"].sum(), peaks
        ).utilisation
        for dtype in peaks
    }
    assert 0 < used["bfloat16"] < 1e-9 < used["float32"]


def test_every_figure_of_training_has_exactly_the_keys_of_the_format(seed) -> None:
    of_training = [x for name, x in seed.items() if name.startswith("train ")]
    assert len(of_training) == 32
    for one in of_training:
        assert one.keys() == {"name", "value", "unit", "vs", "ratio"}


def test_bfloat16_and_lengths_are_told_beside_the_lstms_f32(seed) -> None:
    for length in (4, 8):
        one = seed[f"train wavecore sequential bfloat16 T={length}"]
        assert one["vs"] == f"train lstm T={length}"
        assert seed[f"train lstm bfloat16 T={length}"]["value"] > 0


def test_engines_stand_in_the_same_table(figures) -> None:
    assert figures["control step, litert int8, p50"]["unit"] == "us"
    assert figures["control step, litert int8, memory"]["value"] > 10


def test_speed_is_told_beside_the_lstms_at_the_same_length(figures) -> None:
    one = figures["train wavecore chunked T=8"]
    base = figures["train lstm T=8"]
    assert one["vs"] == "train lstm T=8"
    assert one["ratio"] == pytest.approx(one["value"] / base["value"])
    assert base["ratio"] == 1


def test_models_have_as_many_parameters_as_the_seed_preset(figures, seed) -> None:
    expected = seed["train wavecore sequential T=8 parameters"]["value"]
    for name in ("lstm", "gru", "transformer"):
        count = figures[f"train {name} T=8 parameters"]["value"]
        assert count == pytest.approx(expected, rel=0.05)


def test_unknown_model_names_the_known_ones() -> None:
    done = commands.run("model_speed.py", "--model=mamba")
    assert done.returncode == 2
    assert "wavecore sequential" in done.stderr
