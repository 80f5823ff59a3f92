"""The verdict on a report, as a command: shown, signed where there is a key."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base.testing import command
from cloud.evaluate.report import TaskResult
from cloud.evaluate.success_rate import SuccessRate
from cloud.testing import records
from release import evidence, trials, verification
from release.errors import NotBlessedError
from release.testing import tiny_release
from release.testing.tiny_release import Release
from release.trials import Trial, TrialsRecord

BLESS = "cloud.evaluate.bless"


class Made:
    """A package with provenance, its report, and the key that may bless it."""

    def __init__(self, folder: Path) -> None:
        self.release: Release = tiny_release.release(folder)
        self.package, self.key = folder / "p", folder / "blessing.key"
        tiny_release.write_package(self.package)
        self.release.sign(self.package)
        (self.package / "blessing.intoto.jsonl").unlink()
        (self.package / "evaluation.json").unlink()
        self.release.keys["blessing"].write_new(self.key)
        self.digest = verification.verify_integrity(self.package).digest
        self.report = folder / "report.json"
        self.write_report()

    def write_report(self, path: Path | None = None, **changes: Any) -> Path:
        path = self.report if path is None else path
        tasks = {"reach-v3": TaskResult(SuccessRate(50, 50), 61.0)}
        found = records.evaluation_report(
            **{"package_digest": self.digest, "tasks": tasks} | changes
        )
        path.write_bytes(found.encode())
        return path

    def bless(self, *flags: str) -> command.Finished:
        return command.run(
            BLESS, f"--package={self.package}", f"--report={self.report}", *flags
        )

    def verify(self) -> None:
        verification.verify_package(
            self.package,
            self.release.trusted,
            datetime.now(UTC),
            None,
            self.digest,
        )


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_blessed_package_is_signed_and_verifies(made: Made) -> None:
    done = made.bless("--first", f"--key_file={made.key}")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[-1] == "verdict   blessed"
    assert "blessed   success: 50 of 50 episodes" in done.out
    made.verify()
    assert (made.package / "evaluation.json").read_bytes() == made.report.read_bytes()


def test_without_a_key_the_verdict_is_shown_and_nothing_is_written(made: Made) -> None:
    before = sorted(made.package.rglob("*"))
    done = made.bless("--first")
    assert done.code == 0
    assert done.out.splitlines()[-1] == "verdict   blessed, not signed"
    assert sorted(made.package.rglob("*")) == before


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"safety_violations": 2}, 1, "refused"),
        ({"held_out_loss": None}, 3, "undecided"),
    ],
)
def test_other_verdicts_have_exit_codes_and_are_signed_as_what_they_are(
    made: Made, changes: dict[str, Any], code: int, word: str
) -> None:
    made.write_report(**changes)
    done = made.bless("--first", f"--key_file={made.key}")
    assert done.code == code
    assert f"verdict   {word}" in done.out
    with pytest.raises(NotBlessedError):
        made.verify()


def test_package_that_is_worse_than_the_channels_is_refused(
    made: Made, tmp_path: Path
) -> None:
    good = {"reach-v3": TaskResult(SuccessRate(500, 500), 60.0)}
    worse = {"reach-v3": TaskResult(SuccessRate(460, 500), 60.0)}
    before = made.write_report(
        tmp_path / "before.json",
        package_digest="b" * 64,
        tasks=good,
        episodes_per_task=500,
    )
    made.write_report(tasks=worse, episodes_per_task=500)
    done = made.bless(f"--baseline_report={before}")
    assert done.code == 1
    assert "refused   against the channel: success 0.920" in done.out


def test_report_of_another_package_is_refused_in_one_line(made: Made) -> None:
    made.write_report(package_digest="c" * 64)
    done = made.bless("--first", f"--key_file={made.key}")
    assert done.code == 1
    (line,) = done.err.splitlines()
    assert "cccccccccccc" in line and "//cloud:evaluate" in line
    assert not (made.package / "blessing.intoto.jsonl").exists()


@pytest.mark.parametrize("flags", [(), ("--first", "--baseline_report=report.json")])
def test_channel_that_is_neither_new_nor_compared_with_is_wrong_usage(
    made: Made, flags: tuple[str, ...]
) -> None:
    assert made.bless(*flags).code == 2


def held_out(made: Made, path: Path, **changes: Any) -> Path:
    found = records.held_out_report(**{"package_digest": made.digest} | changes)
    path.write_bytes(found.encode())
    return path


def bless_held_out(made: Made, *flags: str) -> command.Finished:
    report = made.package.with_name("held_out.json")
    return command.run(BLESS, f"--package={made.package}", f"--report={report}", *flags)


def test_package_blessed_on_held_out_episodes_says_so_wherever_it_is_looked_at(
    made: Made, tmp_path: Path
) -> None:
    report = held_out(made, tmp_path / "held_out.json")
    done = bless_held_out(made, "--first", f"--key_file={made.key}")
    assert (done.code, done.err) == (0, "")
    *gates, last = done.out.splitlines()
    assert last == "verdict   blessed on held-out evidence"
    assert all(line.startswith("blessed   held-out episodes: ") for line in gates)
    made.verify()
    blessing = (made.package / "blessing.intoto.jsonl").read_bytes()
    assert b'"evidence":["held-out"]' in base64.b64decode(
        json.loads(blessing)["payload"]
    )
    assert (made.package / "evaluation.json").read_bytes() == report.read_bytes()
    keyring = tmp_path / "keyring.json"
    keyring.write_bytes(made.release.trusted.encode())
    shown = command.run(
        "release.commands.verify",
        f"--package={made.package}",
        f"--keyring={keyring}",
    )
    assert "evidence held-out" in shown.out.splitlines(), shown.err


def test_both_kinds_of_evidence_must_pass_and_are_kept_in_one_file(
    made: Made, tmp_path: Path
) -> None:
    report = held_out(made, tmp_path / "held_out.json")
    done = made.bless(f"--report={report}", "--first", f"--key_file={made.key}")
    assert done.code == 0, done.err
    assert done.out.endswith("blessed on simulated and held-out evidence\n")
    made.verify()
    far = tuple(records.episode_error(k, error=0.5) for k in range(12))
    held_out(made, report, episodes=far)
    done = made.bless(f"--report={report}", "--first", f"--key_file={made.key}")
    assert done.code == 1
    with pytest.raises(NotBlessedError):
        made.verify()


def test_held_out_package_is_compared_with_the_channels_on_the_same_episodes(
    made: Made, tmp_path: Path
) -> None:
    worse = tuple(records.episode_error(k, error=0.04 + 0.001 * k) for k in range(12))
    held_out(made, tmp_path / "held_out.json", episodes=worse)
    before = held_out(made, tmp_path / "before.json", package_digest="b" * 64)
    done = bless_held_out(made, f"--baseline_report={before}")
    assert done.code == 1
    assert "refused   held-out episodes: against the channel: error 0.04" in done.out


def test_channel_judged_in_a_simulator_decides_nothing_about_held_out_episodes(
    made: Made, tmp_path: Path
) -> None:
    held_out(made, tmp_path / "held_out.json")
    before = made.write_report(tmp_path / "before.json", package_digest="b" * 64)
    done = bless_held_out(made, f"--baseline_report={before}")
    assert done.code == 3
    assert "names no report of this kind" in done.out


def test_same_kind_twice_or_of_another_package_is_one_line(
    made: Made, tmp_path: Path
) -> None:
    held_out(made, tmp_path / "held_out.json")
    done = bless_held_out(made, f"--report={tmp_path / 'held_out.json'}", "--first")
    assert done.code == 1
    assert "a second one of held-out evidence" in done.err
    held_out(made, tmp_path / "held_out.json", package_digest="c" * 64)
    done = made.bless(f"--report={tmp_path / 'held_out.json'}", "--first")
    assert done.code == 1
    assert done.err.count("\n") == 1 and "cccccccccccc" in done.err
    assert not (made.package / "blessing.intoto.jsonl").exists()


ROBOT = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def enrol(folder: Path) -> Path:
    public = ROBOT.public_key()
    path = folder / "enrol.json"
    value = {
        "keyid": trials.compute_keyid(public),
        "public": base64.b64encode(public.public_bytes_raw()).decode(),
        "robot_hash": "e" * 64,
    }
    path.write_text(json.dumps(value))
    return path


def always(pair: int) -> str:
    return "success"


def half(pair: int) -> str:
    return "failure" if pair % 2 else "success"


def stopped_once(pair: int) -> str:
    return "stopped" if pair == 3 else "success"


def failed_thrice(pair: int) -> str:
    return "failure" if pair < 3 else "success"


def ended_early(pair: int) -> str:
    return "success" if pair < 20 else "end"


def tried(
    made: Made,
    candidate: Callable[[int], str] | None = None,
    left: int = 0,
    **changes: Any,
) -> Path:
    """Writes the record of trials, in which the baseline always succeeds."""
    fields: dict[str, Any] = {
        "package_digest": made.digest,
        "baseline_digest": "b" * 64,
        "session": "0" * 32,
        "planned_pairs": 40,
        "blind": True,
        "robot_model": "desk-arm",
        "environment_id": "desk",
        "task": "pour",
        "simulated": False,
        "max_steps": 400,
    }
    record = TrialsRecord(**(fields | changes))
    while (due := record.find_next()) is not None:
        outcome = (candidate or always)(due[0])
        if due[1] == "baseline":
            outcome = "success"
        if len(record.trials) < left:
            outcome = "left out"
        if outcome == "end":
            break
        record = record.add(Trial(*due, outcome, 90, "", ("f" * 64,)))
    path = made.package.with_name("trials.json")
    path.write_bytes(record.sign(ROBOT))
    return path


def bless_tried(made: Made, *flags: str) -> command.Finished:
    report = made.package.with_name("trials.json")
    return command.run(BLESS, f"--package={made.package}", f"--report={report}", *flags)


def test_package_is_blessed_by_trials_alone_and_says_so(
    made: Made, tmp_path: Path
) -> None:
    tried(made)
    flags = f"--enrolment={enrol(tmp_path)}", f"--key_file={made.key}"
    done = bless_tried(made, *flags)
    assert (done.code, done.err) == (0, ""), done.out
    assert done.out.endswith("verdict   blessed on trials evidence\n")
    assert all(
        line.startswith("blessed   trials on the robot: ")
        for line in done.out.splitlines()[:-1]
    )
    assert "40 pairs with package bbbbbbbbbbbb" in done.out
    made.verify()


def test_recordings_and_trials_together_are_one_report(
    made: Made, tmp_path: Path
) -> None:
    tried(made)
    report = held_out(made, tmp_path / "held_out.json")
    before = held_out(made, tmp_path / "before.json", package_digest="b" * 64)
    done = bless_tried(
        made,
        f"--report={report}",
        f"--baseline_report={before}",
        f"--enrolment={enrol(tmp_path)}",
        f"--key_file={made.key}",
    )
    assert done.code == 0, done.out
    assert "blessed on held-out and trials evidence" in done.out
    made.verify()
    parts = evidence.split((made.package / "evaluation.json").read_bytes(), "x")
    assert tuple(parts) == ("held-out", "trials")
    assert parts["trials"] == made.package.with_name("trials.json").read_bytes()


@pytest.mark.parametrize(
    ("candidate", "changes", "code", "said"),
    [
        (half, {}, 1, "refused   trials on the robot: against the other"),
        (stopped_once, {}, 1, "refused   trials on the robot: stops: 1"),
        (failed_thrice, {}, 3, "pairs would show it"),
        (ended_early, {}, 3, "of 80; let //edge:trials go on"),
        (always, {"left": 30}, 3, "30 left out"),
        (always, {"simulated": True}, 3, "which is simulated"),
        (always, {"baseline_digest": None}, 3, "it was tried alone"),
    ],
)
def test_trials_that_show_less_do_not_bless(
    made: Made,
    tmp_path: Path,
    candidate: Callable[[int], str],
    changes: dict[str, Any],
    code: int,
    said: str,
) -> None:
    tried(made, candidate, **changes)
    done = bless_tried(made, f"--enrolment={enrol(tmp_path)}")
    assert (done.code, done.err) == (code, ""), done.out
    assert said in done.out


def test_trials_of_nobody_known_decide_nothing_and_changed_ones_are_an_error(
    made: Made, tmp_path: Path
) -> None:
    path = tried(made)
    done = bless_tried(made)
    assert done.code == 3
    assert "undecided trials on the robot: signature: nobody says" in done.out
    path.write_bytes(path.read_bytes().replace(b'"blind":true', b'"blind":false'))
    done = bless_tried(made, f"--enrolment={enrol(tmp_path)}", f"--key_file={made.key}")
    assert done.code == 1
    assert "signature" in done.err and done.err.count("\n") == 1
    assert not (made.package / "blessing.intoto.jsonl").exists()


def test_trials_against_another_package_than_the_channels_decide_nothing(
    made: Made, tmp_path: Path
) -> None:
    tried(made)
    report = held_out(made, tmp_path / "held_out.json")
    before = held_out(made, tmp_path / "before.json", package_digest="c" * 64)
    done = bless_tried(
        made,
        f"--report={report}",
        f"--baseline_report={before}",
        f"--enrolment={enrol(tmp_path)}",
    )
    assert done.code == 3
    assert "which is not the channel's" in done.out
