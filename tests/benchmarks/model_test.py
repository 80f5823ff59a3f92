import itertools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from absl import flags
from flax import nnx

from cloud.testing import printed_table
from model import config, memory_estimate
from tests.benchmarks import commands, sequence_models
from tests.benchmarks import model as benchmark

_MODELS = (
    "wavecore sequential",
    "wavecore associative",
    "wavecore chunked",
    "lstm",
    "gru",
    "transformer",
)
_TRAINED = ("wavecore chunked", "lstm")


def measured(path: Path, longest: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """Figures of a small run, by name; its table shows the longest name whole."""
    done = commands.run(
        *("model.py", "--batch_size=2", "--repeats=1", *arguments),
        *("--preset=tiny", "--length=8", f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    assert "matrix peak" in done.stdout
    assert f"{longest} bfloat16 │" in done.stdout
    return {one["name"]: one for one in json.loads(path.read_bytes())}


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Figures of training the model and what it is compared with."""
    path = tmp_path_factory.mktemp("figures") / "model.json"
    models = [f"--model={name}" for name in _TRAINED]
    return measured(path, _TRAINED[0], "--part=training", *models)


@pytest.mark.long
def test_every_model_is_measured_and_engines_stand_in_the_same_table(
    tmp_path: Path,
) -> None:
    given = ("--engine=litert int8", "--control_steps=200")
    figures = measured(tmp_path / "model.json", "wavecore associative", *given)
    for name, dtype in itertools.product(_MODELS, ("", " bfloat16")):
        assert figures[f"train {name}{dtype} T=8"]["value"] > 0
        assert 0 < figures[f"train {name}{dtype} T=8 utilisation"]["value"] < 1
        assert figures[f"train {name}{dtype} T=8 memory"]["value"] > 0
    assert figures["control step, litert int8, p50"]["unit"] == "us"
    assert figures["control step, litert int8, memory"]["value"] > 10


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_utilisation_is_of_the_matrix_peak_in_the_dtype_of_the_row(
    figures: dict[str, dict[str, Any]], dtype: str
) -> None:
    peak = figures[f"matrix peak {dtype}"]
    assert peak["value"] > 0
    for model in _TRAINED:
        name = f"train {model}{' bfloat16' * (dtype == 'bfloat16')} T=8"
        used = figures[f"{name} utilisation"]
        assert used["unit"] == f"of matrix peak {dtype}"
        # The reported peak is the highest of the run, so its share is the smallest.
        flop = 6 * figures[f"{name} parameters"]["value"] * figures[name]["value"]
        assert used["value"] >= 0.999 * flop / (1e9 * peak["value"])
        assert used["value"] < 1


def test_row_is_divided_by_the_peak_of_its_own_dtype(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Peaks that no machine has, so that a wrong one is noticed.
    peaks = {"float32": 1.0, "bfloat16": 1e30}
    monkeypatch.setattr(benchmark, "_matrix_peak", peaks.__getitem__)
    flags.FLAGS(["model", "--batch_size=2", "--repeats=1"])
    used = {
        dtype: benchmark._train(
            *("one", dtype, 4, {"w": jnp.ones(4)}), lambda p, _: p["w"].sum(), peaks
        ).utilisation
        for dtype in peaks
    }
    assert 0 < used["bfloat16"] < 1e-9 < used["float32"]


def test_every_training_figure_has_exactly_the_keys_of_the_format(
    figures: dict[str, dict[str, Any]],
) -> None:
    of_training = [x for name, x in figures.items() if name.startswith("train ")]
    assert len(of_training) == 16
    for one in of_training:
        assert one.keys() == {"name", "value", "unit", "vs", "ratio"}


def test_speed_is_compared_with_the_lstm_in_f32(
    figures: dict[str, dict[str, Any]],
) -> None:
    one = figures["train wavecore chunked bfloat16 T=8"]
    base = figures["train lstm T=8"]
    assert one["vs"] == "train lstm T=8"
    assert one["ratio"] == pytest.approx(one["value"] / base["value"])
    assert base["ratio"] == 1


def test_speed_is_compared_with_the_lstm_at_the_same_length() -> None:
    def row(name: str, length: int, median: float) -> benchmark.TrainingSpeed:
        return benchmark.TrainingSpeed(
            name, "float32", length, 1, median, median, 0.5, 1.0, 1.0
        )

    rows = [row("lstm", 4, 2.0), row("gru", 4, 3.0)]
    rows += [row("lstm", 8, 5.0), row("gru", 8, 4.0)]
    told = {one["name"]: one for one in benchmark._figures(rows, {})}
    for length, ratio in ((4, 1.5), (8, 0.8)):
        one = told[f"train gru T={length}"]
        assert (one["vs"], one["ratio"]) == (f"train lstm T={length}", ratio)


def test_models_have_as_many_parameters_as_the_seed_preset() -> None:
    expected = memory_estimate.trained_count(
        config.seed(
            sequence_models.STATE_SIZE,
            sequence_models.ACTION_SIZE,
            sequence_models.TASK_COUNT,
        )
    )
    for make in sequence_models.BASELINES.values():
        parameters = nnx.state(nnx.eval_shape(lambda make=make: make(8)), nnx.Param)
        count = sum(x.size for x in jax.tree.leaves(parameters))
        assert count == pytest.approx(expected, rel=0.05)


def test_unknown_model_names_the_known_ones() -> None:
    done = commands.run("model.py", "--model=mamba")
    assert done.returncode == 2
    assert "wavecore sequential" in done.stderr


def test_tables_show_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    flags.FLAGS(["model"])
    rows = [
        benchmark.TrainingSpeed(
            *(f"wavecore associative {dtype}", dtype, 131_072, 9_000_000),
            *(1_234_567.0 + n, 7_654_321.0 + n, 0.25 + n / 100),
            *(123_456.0 + n, 1234.5 + n),
        )
        for n, dtype in enumerate(("float32", "bfloat16"))
    ]
    rows.append(rows[0]._replace(name="lstm", median=1_000_000.0))
    peaks = {"float32": 1.234e15, "bfloat16": 9.876e15}
    printed_table.require_whole(
        (
            *("1,234,567", "1,234,568", "7,654,321", "7,654,322", "123,456"),
            *("123,457", "1234.5", "1235.5", "0.25", "0.26", "131072"),
            *("7.65 x", "1,000,000", "1234000", "9876000"),
        ),
        benchmark._training_table(rows, peaks),
    )
    names = ("p50", "p99", "start", "growth", "memory")
    values = (123_456.0, 1_234_567.0, 123.45, 98_765.0, 54_321.0)
    engine = dict(zip(names, values, strict=True))
    printed_table.require_whole(
        ("123456", "1234567", "123.45", "98765", "54321"),
        benchmark._control_table({"onnxruntime float32 per channel": engine}),
    )
