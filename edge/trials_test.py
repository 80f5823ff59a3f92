"""Trials on an arm, by the keys of a terminal: what is done, said and left on disk.

The terminal is a pseudo terminal, the arm counts as real; program, packages, their
signatures, recording and record are real.
"""

import base64
import contextlib
import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from base.digest import sha256_file
from base.testing import command
from edge.testing import at_terminal, processes, tiny_package
from edge.testing.at_terminal import AtTerminal
from edge.testing.tiny_package import Publisher
from release import trials
from release.testing.tiny_release import PrivateKey
from release.trials import TrialsRecord
from rlds import reader
from rlds.episode import Episode

ARM = "--robot=real-arm:desk"
command.import_what_it_imports("edge.trials")  # the program starts it by its name


class Desk:
    """Two signed packages, and the folder of a session."""

    def __init__(self, folder: Path, verdict: str = "undecided") -> None:
        self.folder, self.output = folder, folder / "out"
        self.publisher = Publisher(folder, PrivateKey.generate(development=True))
        self.digests = {}
        for seed, arm in enumerate(trials.ARMS, 1):
            digest = tiny_package.write_package(folder / arm, seed)
            tiny_package.sign_package(
                folder / arm,
                digest,
                self.publisher.key,
                verdict if arm == "candidate" else "blessed",
            )
            self.digests[arm] = digest

    def flags(self, *more: str) -> list[str]:
        return [
            "edge.trials",
            f"--candidate={self.folder / 'candidate'}",
            f"--baseline={self.folder / 'baseline'}",
            f"--output={self.output}",
            *more,
        ]

    def signed(self, *more: str) -> list[str]:
        return self.flags(
            ARM,
            f"--keyring={self.publisher.keyring()}",
            "--allow_development_keys",
            f"--key_file={self.folder / 'key.json'}",
            f"--enrol={self.folder / 'enrol.json'}",
            *more,
        )

    @contextlib.contextmanager
    def start(self, *more: str) -> Iterator[AtTerminal]:
        flags = self.signed("--max_steps=2000", *more)
        with at_terminal.start("edge.testing.real_arm", *flags) as running:
            yield running

    def verify(self) -> TrialsRecord:
        """The record, by the robot's enrolment."""
        value = json.loads((self.folder / "enrol.json").read_bytes())
        keys = {
            one["keyid"]: Ed25519PublicKey.from_public_bytes(
                base64.b64decode(one["public"])
            )
            for one in value.get("keys", [value])
        }
        path = self.output / "trials.json"
        return trials.verify(path.read_bytes(), path, keys)

    def episodes(self) -> dict[str, Episode]:
        """The shared episodes by the digest of their file."""
        found = sorted((self.output / "episodes").glob("*.tfrecord"))
        return {sha256_file(path): reader.read_episode(path) for path in found}

    def require_recorded(self, record: TrialsRecord) -> None:
        """Each trial's episode is there, of the package that drove, and no other."""
        episodes = self.episodes()
        named = [digest for one in record.trials for digest in one.episodes]
        assert sorted(named) == sorted(episodes)
        for one in record.trials:
            for digest in one.episodes:
                drove = episodes[digest].metadata.package_digest
                assert drove == self.digests[one.arm]


def begin(running: AtTerminal, number: int) -> None:
    running.wait_for("at the start of a trial", count=number)
    if number == 1:
        running.wait_for("begin the next episode")
    running.press(b" ")
    running.hold(b"?", 0.15)  # the arm moves meanwhile


def outcomes(record: TrialsRecord) -> list[str]:
    return [one.outcome for one in record.trials]


def test_whole_blind_session_is_signed_in_random_order_and_tells_the_packages_last(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=2", "--blind") as running:
        for number, key in enumerate((b"y", b"n", b"y", b"y"), 1):
            begin(running, number)
            if number == 4:
                told = running.said
            running.press(key)
        assert running.finish() == 0, running.said
        assert running.settings() == running.before
    for word in ("candidate drives", "baseline drives", *desk.digests.values()):
        assert word not in told and word[:12] not in told
    assert "2 pairs are planned; packages that never differ need 27" in told
    record = desk.verify()
    assert outcomes(record) == ["success", "failure", "success", "success"]
    assert (record.blind, record.simulated, record.planned_pairs) == (True, False, 2)
    assert record.package_digest == desk.digests["candidate"]
    assert record.baseline_digest == desk.digests["baseline"]
    assert [one.arm for one in record.trials] == [*record.order(0), *record.order(1)]
    assert record.find_next() is None
    desk.require_recorded(record)
    for digest, episode in desk.episodes().items():
        (one,) = [t for t in record.trials if digest in t.episodes]
        assert episode.metadata.success is (one.outcome == "success")
        assert episode.spec.interventions and not episode.steps["intervention"].any()
    assert not list((desk.output / "episodes.private").glob("*.tfrecord"))
    assert "4 of 4 trials are made" in running.said
    assert "exact McNemar test p = 1" in running.said
    # Which package it was that failed once decides what follows from that.
    assert re.search("pairs like these would be needed|would not show it", running.said)


def test_robot_that_is_stopped_or_helped_has_not_succeeded(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"x")
        running.wait_for("trial 1: stopped by stop_key")
        begin(running, 2)
        running.hold(b"d", 0.2)
        running.press(b"y")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert outcomes(record) == ["stopped", "helped"]
    assert record.pairs.neither == 1
    assert record.trials[0].stop_rule == "stop_key"
    desk.require_recorded(record)
    assert "1 stopped" in running.said and "1 helped" in running.said


@pytest.mark.parametrize("key", [b"b", b"x"])
def test_trial_that_is_left_out_stays_in_the_record_and_is_made_again(
    tmp_path: Path, key: bytes
) -> None:
    desk = Desk(tmp_path)
    with at_terminal.start(
        "edge.testing.real_arm", *desk.signed("--pairs=1", "--max_steps=20")
    ) as running:
        begin(running, 1)
        running.wait_for("how did it go?")
        running.press(key)
        running.wait_for("left out after 20 steps, does not count and is made again")
        for number in (2, 3):
            begin(running, number)
            running.wait_for("how did it go?", count=number)
            running.press(b"y")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert outcomes(record) == ["left out", "success", "success"]
    assert record.trials[0].arm == record.trials[1].arm
    assert [one.steps for one in record.trials] == [20] * 3
    desk.require_recorded(record)


def test_trial_is_left_out_by_key_while_the_robot_moves(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"b")
        running.wait_for("does not count and is made again")
        for number in (2, 3):
            begin(running, number)
            running.press(b"y")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert outcomes(record) == ["left out", "success", "success"]
    desk.require_recorded(record)


def test_ctrl_c_in_a_trial_holds_the_robot_and_the_same_command_goes_on(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"y")
        begin(running, 2)
        os.kill(running.process.pid, signal.SIGINT)
        assert running.finish() == 130, running.said
        assert running.settings() == running.before
    assert "broken off" in running.said and "Traceback" not in running.said
    assert "the session is not complete; the same command goes on" in running.said
    first = desk.verify()
    assert outcomes(first) == ["success", "broken off"]
    desk.require_recorded(first)
    with desk.start("--pairs=1") as running:
        running.wait_for("goes on: 1 of 2 trials are made, 1 more do not count")
        begin(running, 1)
        running.press(b"n")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert outcomes(record) == ["success", "broken off", "failure"]
    assert record.session == first.session
    desk.require_recorded(record)
    broken = [e for d, e in desk.episodes().items() if d in record.trials[1].episodes]
    assert [one.metadata.success for one in broken] == [None]
    assert not broken[0].steps["safety_violation"].any()


def test_kill_in_a_trial_loses_nothing_and_is_said_by_the_next_command(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"y")
        begin(running, 2)
        running.process.kill()
        running.finish()
    left = desk.verify()
    assert outcomes(left) == ["success"], "the record holds what had ended"
    with (desk.output / "trials.jsonl").open("ab") as file:
        file.write(b'\n{"ends":{"pa')  # what a crash may leave of a line
    with desk.start("--pairs=1") as running:
        running.wait_for("trial 2 was interrupted: broken off")
        begin(running, 1)
        running.press(b"y")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert outcomes(record) == ["success", "broken off", "success"]
    assert record.trials[1].steps > 0, "its steps until then were recovered"
    desk.require_recorded(record)


def test_kill_after_the_person_has_said_it_keeps_what_was_said(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"y")
        begin(running, 2)
        running.press(b"n")
        assert running.finish() == 0, running.said
    whole = desk.verify()
    journal = desk.output / "trials.jsonl"
    lines = [line for line in journal.read_bytes().split(b"\n") if line]
    assert len(lines) == 5 and b'"ends"' in lines[-1]
    journal.write_bytes(b"\n".join(lines[:-1]) + b"\n")  # killed right before it
    with desk.start("--pairs=1") as running:
        assert running.finish() == 0, running.said
    assert "trial 2 was interrupted: failure after" in running.said
    assert desk.verify() == whole


def test_person_who_is_gone_breaks_the_trial_off_in_one_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.unplug()
        assert running.finish() == 1
    record = desk.verify()
    assert outcomes(record) == ["broken off"]
    desk.require_recorded(record)


def test_other_flags_do_not_go_on_with_a_session(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.start("--pairs=1") as running:
        begin(running, 1)
        running.press(b"y")
        running.wait_for("at the start of a trial", count=2)
        running.press(b"x")
        assert running.finish() == 0, running.said
    before = (desk.output / "trials.jsonl").read_bytes()
    for more, what in (("--pairs=9", "planned_pairs 1, got 9"), ("--blind", "blind")):
        done = processes.run_forked(
            "edge.testing.real_arm",
            *desk.signed("--max_steps=2000", "--pairs=1", more),
        )
        assert done.returncode == 1
        assert what in done.stderr and "Traceback" not in done.stderr
    assert (desk.output / "trials.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("verdict", "leave_out", "code", "reason"),
    [
        ("refused", "", 1, "expected verdict blessed or undecided, got refused"),
        ("undecided", "--keyring", 2, "expected --keyring for the real robot"),
        ("undecided", "--allow_development_keys", 1, "development"),
    ],
)
def test_real_robot_is_not_driven_by_what_was_refused_or_nobody_signed(
    tmp_path: Path, verdict: str, leave_out: str, code: int, reason: str
) -> None:
    desk = Desk(tmp_path, verdict)
    flags = [f for f in desk.signed() if not leave_out or not f.startswith(leave_out)]
    done = processes.run_forked("edge.testing.real_arm", *flags)
    assert done.returncode == code, done.stderr
    assert reason in done.stderr
    assert done.stderr.count("\n") == 1
    assert not desk.output.exists()


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("--actor=expert", "a person who watches"),
        ("--actor=leader", "one of"),
        ("--pairs=0", "pairs"),
    ],
)
def test_wrong_usage_is_one_line_and_leaves_nothing(
    tmp_path: Path, more: str, reason: str
) -> None:
    flags = ["--robot=metaworld:reach-v3", "--candidate=x", f"--output={tmp_path}/o"]
    done = processes.run_forked("edge.trials", *flags, more)
    assert done.returncode == 2, done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "o").exists()


def test_simulated_robot_is_tried_from_the_same_seeds_and_knows_how_it_went(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path)
    (desk.folder / "candidate" / "blessing.intoto.jsonl").unlink()
    flags = desk.flags("--robot=metaworld:reach-v3", "--pairs=2", "--max_steps=20")
    flags.append(f"--enrol={tmp_path / 'enrol.json'}")
    with at_terminal.start("edge.trials", *flags[1:]) as running:
        for number in range(1, 5):
            begin(running, number)
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert record.simulated
    assert outcomes(record) == ["failure"] * 4
    desk.require_recorded(record)
    first = {
        one.arm: tuple(
            desk.episodes()[one.episodes[0]].steps["observation/state"][0].tolist()
        )
        for one in record.trials[:2]
    }
    assert first["candidate"] == first["baseline"]


def test_candidate_alone_needs_no_pairs(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    flags = [f for f in desk.signed("--pairs=2") if not f.startswith("--baseline")]
    with at_terminal.start("edge.testing.real_arm", *flags) as running:
        for number in (1, 2):
            begin(running, number)
            running.press(b"y")
        assert running.finish() == 0, running.said
    record = desk.verify()
    assert record.baseline_digest is None
    assert outcomes(record) == ["success", "success"]
    assert re.search(r"candidate 2 of 2 succeeded, 16% to 100%", running.said)
