import json
from pathlib import Path

import pytest

from tests.benchmarks import commands

_MODELS = (
    "wavecore sequential",
    "wavecore associative",
    "wavecore chunked",
    "lstm",
    "gru",
    "transformer",
)


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    path = tmp_path_factory.mktemp("figures") / "model.json"
    done = commands.run(
        "model_speed.py",
        *("--preset=tiny", "--length=8", "--length=20", "--engine=litert int8"),
        *("--batch_size=2", "--repeats=2", "--control_steps=200", f"--json={path}"),
    )
    assert done.returncode == 0, done.stderr
    assert "matrix peak" in done.stdout
    return {one["name"]: one for one in json.loads(path.read_bytes())}


def test_every_model_is_measured_at_every_length(figures) -> None:
    for name in _MODELS:
        assert figures[f"train {name} T=8"]["value"] > 0
        assert 0 < figures[f"train {name} T=8 utilisation"]["value"] < 1
        assert figures[f"train {name} T=20 memory"]["value"] > 0
        assert figures[f"train {name} bfloat16 T=20"]["vs"] == "train lstm T=20"


def test_engines_stand_in_the_same_table(figures) -> None:
    assert figures["control step, litert int8, p50"]["unit"] == "us"
    assert figures["control step, litert int8, memory"]["value"] > 10


def test_speed_is_told_beside_the_lstms_at_the_same_length(figures) -> None:
    one = figures["train wavecore chunked T=20"]
    base = figures["train lstm T=20"]
    assert one["vs"] == "train lstm T=20"
    assert one["ratio"] == pytest.approx(one["value"] / base["value"])
    assert base["ratio"] == 1


def test_models_have_as_many_parameters_as_the_seed_preset(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    done = commands.run(
        "model_speed.py",
        *(
            "--length=4",
            "--batch_size=1",
            "--repeats=1",
            "--part=training",
            "--dtype=float32",
        ),
        f"--json={path}",
    )
    assert done.returncode == 0, done.stderr
    counts = {
        one["name"]: one["value"]
        for one in json.loads(path.read_bytes())
        if one["unit"] == "parameters"
    }
    assert len(counts) == len(_MODELS)
    assert max(counts.values()) < 1.05 * min(counts.values())


def test_unknown_model_names_the_known_ones() -> None:
    done = commands.run("model_speed.py", "--model=mamba")
    assert done.returncode == 2
    assert "wavecore sequential" in done.stderr
