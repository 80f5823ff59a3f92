"""Tests of the results of a finished run, for people and for machines."""

import dataclasses
import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from cloud.evaluate import held_out_verdict
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.report import TaskResult
from cloud.evaluate.success_rate import SuccessRate, interval_text, percent_text
from cloud.evaluate.verdict import Gates, decide
from cloud.job.outcome import Outcome
from cloud.testing import printed_table, records

EVALUATION = records.evaluation_report()
OUTCOME = Outcome(
    run_id="run",
    decision=decide(EVALUATION, Gates(minimum_success=0.8), None),
    evaluation=EVALUATION,
    expert={"reach-v3": SuccessRate(50, 50)},
    train_loss=0.05,
    updates=3000,
    updates_per_s=50.0,
    train_seconds=60.0,
    total_seconds=100.0,
    resumed_from=None,
    package=Path("/store/run/export/pi5-cpu"),
    report=Path("/store/run/report.html"),
    channel="file:///store/channels/nightly.json",
    published=True,
    channel_exists=True,
    keyring=Path("/store/keys/keyring.json"),
    state_dir=Path("/cache/robot"),
)


def show(outcome: Outcome) -> str:
    text = io.StringIO()
    outcome.show(Console(file=text, width=80))
    return text.getvalue()


def test_summary_has_the_results_by_name() -> None:
    summary = json.loads(OUTCOME.summary())
    assert summary["success"] == {"reach-v3": 0.98}
    assert summary["train_updates_per_s"] == 50.0
    assert summary["train_seconds"] == 60.0
    assert summary["train_loss"] == 0.05
    assert summary["held_out_loss"] == 0.02
    assert summary["package"] == "/store/run/export/pi5-cpu"
    assert summary["channel"] == "/store/channels/nightly.json"
    assert summary["verdict"] == "blessed"


def test_channel_in_a_bucket_is_named_by_its_uri() -> None:
    uri = "gs://bucket/prefix/channels/nightly.json"
    remote = dataclasses.replace(OUTCOME, channel=uri)
    assert json.loads(remote.summary())["channel"] == uri
    assert f"--channel={uri} " in remote.next_command()


@pytest.mark.parametrize("published", [True, False])
def test_command_for_other_machines_names_no_folder_of_this_one(
    published: bool,
) -> None:
    home = Path("/home/ada/store")
    here = dataclasses.replace(
        OUTCOME,
        package=home / "artifacts/wavecore/run/export/pi5-cpu",
        channel=(home / "artifacts/channels/nightly.json").as_uri(),
        keyring=home / "keys/keyring.json",
        state_dir=home / "robot",
        published=published,
    )
    command = here.next_command_elsewhere()
    assert "ada" not in command
    if published:
        assert "--channel=ARTIFACTS/channels/nightly.json --keyring=KEYS/k" in command
    else:
        assert "--candidate=ARTIFACTS/wavecore/run/export/pi5-cpu " in command
    assert "--state_dir=ROBOT --record_dir=ROBOT-episodes" in command
    assert here.public_channel() == "channels/nightly.json"
    uri = "gs://bucket/prefix/channels/nightly.json"
    assert dataclasses.replace(here, channel=uri).public_channel() == uri


def test_table_shows_success_beside_the_expert_and_the_next_command() -> None:
    text = show(OUTCOME)
    assert "98.0 %" in text
    assert "100.0 %" in text
    assert "50 unseen seeds per task" in text
    assert all(len(line) <= 80 for line in text.splitlines()[:14])
    assert "verdict   blessed" in text
    assert "channel   /store/channels/nightly.json\n" in text
    assert "--channel=/store/channels/nightly.json" in text
    assert "--allow_development_keys" in text
    assert "--state_dir=/cache/robot --record_dir=/cache/robot-episodes\n" in text


def test_table_shows_losses_throughput_and_latency() -> None:
    rows = [line.strip("│ ") for line in show(OUTCOME).splitlines() if "│" in line]
    pairs = [row.split("│") for row in rows if row.count("│") == 1]
    found = {name.strip(): value.strip() for name, value in pairs}
    assert found == {
        "training loss": "0.05000",
        "held-out loss": "0.02000",
        "updates": "3,000",
        "training speed": "50.0 updates/s",
        "training time": "60.0 s",
        "whole job": "100.0 s",
        "control step, p50 and p99": "80 us, 120 us",
    }


def test_figures_state_missing_losses_and_where_the_run_resumed() -> None:
    partly = dataclasses.replace(OUTCOME, train_loss=None, resumed_from=1200)
    assert partly.figures()["training loss"] == "not measured"
    assert partly.figures()["updates"] == "3,000, from 1,200"


def test_package_that_was_not_published_is_run_as_a_candidate() -> None:
    poor = dataclasses.replace(
        EVALUATION, tasks={"reach-v3": TaskResult(SuccessRate(1, 50), 490.0)}
    )
    refused = dataclasses.replace(
        OUTCOME,
        evaluation=poor,
        decision=decide(poor, Gates(), None),
        published=False,
    )
    text = show(refused)
    assert "verdict   refused" in text
    assert "1 of 50 episodes" in text
    assert "(unchanged)" in text
    assert "--candidate=/store/run/export/pi5-cpu" in text


def test_channel_that_does_not_exist_is_not_named() -> None:
    first = dataclasses.replace(OUTCOME, published=False, channel_exists=False)
    text = show(first)
    assert "channel   none yet, because nothing was published\n" in text
    assert "nightly.json" not in text
    assert "--channel=" not in text
    assert "--record_dir=/cache/robot-episodes" in text


def test_tables_show_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    tasks = ("peg-insert-side-v3", "button-press-topdown-v3", "x" * 60)
    wide = dataclasses.replace(
        EVALUATION,
        tasks={
            task: TaskResult(SuccessRate(99_990 + n, 100_000), 123_456.7 + n)
            for n, task in enumerate(tasks)
        },
        episodes_per_task=100_000,
        held_out_loss=1234.56789,
        step_latency_p50_us=123_456.0,
        step_latency_p99_us=234_567.0,
    )
    outcome = dataclasses.replace(
        OUTCOME,
        evaluation=wide,
        expert=dict.fromkeys(tasks, SuccessRate(987, 1000)),
        train_loss=9876.54321,
        updates=123_456_789,
        resumed_from=123_000_000,
        train_seconds=1_234_567.8,
    )
    rates = [result.success for result in wide.tasks.values()]
    printed_table.require_whole(
        ["123456.7", "123457.7", "123458.7", "98.7 %", "1234.56789", "9876.54321"]
        + ["123,456,789, from 123,000,000", "1234567.8 s"]
        + [percent_text(rate) for rate in rates]
        + [interval_text(rate) for rate in rates],
        outcome._success_table(wide),
        outcome._figures_table(),
    )


def held_out_outcome(**changes: Any) -> Outcome:
    found = records.held_out_report()
    decision = held_out_verdict.decide(found, Gates(), HeldOutGates(), None)
    given: dict[str, Any] = {"evaluation": found, "decision": decision, "expert": {}}
    return dataclasses.replace(OUTCOME, **(given | changes))


def test_held_out_verdict_is_named_and_no_success_is_stated() -> None:
    outcome = held_out_outcome()
    text = show(outcome)
    assert "verdict   blessed on held-out evidence" in text
    assert "nothing was driven" in text
    assert "success" not in text.lower() and "closed loop" not in text
    summary = json.loads(outcome.summary())
    assert summary["evidence"] == ["held-out"]
    assert summary["held_out_error"] == {"pour": pytest.approx(0.02)}
    assert summary["held_out_episodes"] == 12
    assert not {"success", "mean_success", "expert_success"} & summary.keys()
    assert json.loads(OUTCOME.summary())["evidence"] == ["simulated"]


def test_next_command_of_a_robot_without_a_simulator_is_for_the_users_own() -> None:
    command = held_out_outcome().next_command()
    assert "//edge:run -- --channel=/store/" in command
    assert "--robot=YOUR_ROBOT" in command


def test_unpublished_package_of_a_robot_without_a_simulator_is_tried_next() -> None:
    command = held_out_outcome(published=False).next_command()
    assert command.startswith("./bazelw run //edge:trials -- --robot=YOUR_ROBOT ")
    assert "--candidate=/store/run/export/pi5-cpu --keyring=/store/keys/" in command
