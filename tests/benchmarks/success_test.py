import json
from pathlib import Path
from typing import Any

import pytest

from cloud.evaluate import success_rate
from cloud.evaluate.success_rate import SuccessRate
from cloud.testing import printed_table
from tests.benchmarks import commands, success

Measured = tuple[str, dict[str, dict[str, Any]], str, Path]


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.long) for name in ("mlp", "wavecore")],
)
def measured(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Measured:
    """The model, rows by name, output and folder of demonstrations of a small run."""
    model = request.param
    folder = tmp_path_factory.mktemp("success")
    done = commands.run(
        "success.py",
        *("--suite=poor", "--task=drawer-close-v3", f"--model={model}"),
        *("--demonstrations=2", "--episodes=2", "--train_s=0.1"),
        *(f"--folder={folder / 'demonstrations'}", f"--json={folder / 'success.json'}"),
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "success.json").read_bytes())
    return (
        model,
        {row["name"]: row for row in rows},
        done.stdout,
        folder / "demonstrations",
    )


def test_models_and_experts_run_the_same_episodes(measured: Measured) -> None:
    model, rows, printed, _ = measured
    assert set(rows) == {"success poor scripted experts", f"success poor {model}"}
    assert "drawer-close-v3" in printed
    assert "95 % interval" in printed
    assert rows["success poor scripted experts"]["value"] == 1.0
    for row in rows.values():
        assert row["value"] * 2 == pytest.approx(round(row["value"] * 2))
        assert row["tasks"] == {"drawer-close-v3": row["value"]}


def test_models_are_trained_and_their_training_time_is_reported(
    measured: Measured,
) -> None:
    model, rows, *_ = measured
    row = rows[f"success poor {model}"]
    assert row["updates"] >= 60
    assert row["train_s"] > 0
    assert row["ratio"] == row["value"]


def test_demonstrations_are_kept_with_the_readings_of_poor_sensors(
    measured: Measured,
) -> None:
    from rlds import example_codec, tfrecord

    (path,) = measured[3].glob("*.tfrecord")
    assert path.name.startswith("metaworld-poor_drawer-close-v3-")
    records = tfrecord.read_records(path, 2**26)
    episodes = [example_codec.decode(record) for record in records]
    assert len(episodes) == 2
    for episode in episodes:
        assert episode.metadata.success
        assert not episode.steps["observation/state"][:, 18:36].any()


def test_unknown_model_names_the_known_ones() -> None:
    done = commands.run("success.py", "--model=mamba")
    assert done.returncode == 2
    assert "wavecore, lstm" in done.stderr


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    tasks = ("peg-insert-side-v3", "button-press-topdown-v3")
    found = [
        success.Measured(
            *(name, 3_000_000 + n, 1_234_567 + n, 12_345.0 + n, 54_321.0 + n),
            {task: SuccessRate(990 + n, 1000) for task in tasks},
        )
        for n, name in enumerate(("scripted experts", "wavecore", *success.BASELINES))
    ]
    intervals = (success_rate.pool(list(x.success.values())).interval() for x in found)
    printed_table.require_whole(
        [f"{number + n:,}" for n in range(6) for number in (3_000_000, 1_234_567)]
        + [f"{number + n}" for n in range(6) for number in (12_345, 54_321)]
        + [f"{99 + n / 10:.1f}" for n in range(6)]
        + [f"{100 * low:.1f} to {100 * high:.1f}" for low, high in intervals],
        success._table(found),
    )
