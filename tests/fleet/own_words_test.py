"""A robot whose make no list knows, from its class to ingest, by words of its operator.

What the operator names leaves as it is and is admitted by the file that enrols the
robot; what they do not name stays hidden; what the file does not state is refused.
"""

import dataclasses
import functools
import io
import json
from datetime import datetime
from pathlib import Path

import pytest
import rich.console

from base.store.store import LocalStore
from base.testing import command
from cloud.ingest import enrolment, ingest_key, judge, raw_store
from cloud.ingest.admission import Admission
from cloud.testing.raw_robot import INGEST_KEY
from edge.episodes import robot_key
from edge.episodes.episode_id import make_random_id
from edge.episodes.provenance import Provenance
from edge.robots.clock import unix_ns_from_rfc3339
from edge.robots.robot import Observation
from edge.robots.simulated_point import SPEC
from edge.testing.recordings import open_folders, step

CLASS = """
import dataclasses

from edge.robots.simulated_point import SPEC, PointExpert, SimulatedPoint


class Frobber(SimulatedPoint):
    spec = dataclasses.replace(
        SPEC, robot_model="frob-arm2", environment_id="wuzzlery", task="frob a wuzzle"
    )

    @staticmethod
    def expert(observation):
        return PointExpert().propose(observation)
"""
WORDS = ("frob", "wuzzle", "wuzzlery")
NOW = datetime.fromisoformat("2026-05-04T00:00:00Z")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "frobber.py").write_text(CLASS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def record(*more: str) -> command.Finished:
    flags = ("--robot=frobber.py:Frobber", "--consent", "--enrol=robot.json")
    done = command.run("edge.record", *flags, "--output=out", *more)
    assert (done.code, done.err) == (0, "")
    return done


def send(work: Path) -> None:
    done = command.run(
        "edge.episodes.upload", f"--from={work / 'out'}", f"--to={work / 'raw'}"
    )
    assert (done.code, done.err) == (0, "")


def judge_all(work: Path) -> list[Admission]:
    """What ingest says of each upload, by the robot's enrolment."""
    enrolled = enrolment.read([work / "robot.json"])
    trusted = ingest_key.trust(INGEST_KEY)
    store = LocalStore(work / "raw")
    chosen = judge.Judge(store, enrolled, INGEST_KEY, trusted, 1 << 20, NOW)
    console = rich.console.Console(file=io.StringIO())
    return list(judge.ingest(chosen, raw_store.read(store), 1, console).verdicts)


def names(verdict: Admission) -> list[object]:
    return [verdict.episode[name] for name in ("robot_model", "environment_id", "task")]


def test_names_in_words_of_the_operator_are_admitted_as_they_are(work: Path) -> None:
    done = record(f"--share_words={','.join(WORDS)}")
    assert "hash" not in done.out
    send(work)
    (verdict,) = judge_all(work)
    assert verdict.status == "admitted"
    assert names(verdict) == ["frob-arm2", "wuzzlery", "frob a wuzzle"]

    # An episode that waits keeps its words when the next one names fewer.
    record("--seed=1", "--share_words=frob")
    assert json.loads((work / "robot.json").read_bytes())["words"] == sorted(WORDS)
    send(work)
    second, first = sorted(judge_all(work), key=lambda one: str(names(one)))
    assert {first.status, second.status} == {"admitted"}
    assert names(first) == ["frob-arm2", "wuzzlery", "frob a wuzzle"]
    assert names(second)[0] == "frob-arm2"
    assert all(str(name).startswith("unlisted-") for name in names(second)[1:])


def test_names_in_words_that_nobody_named_are_hidden_and_said(work: Path) -> None:
    done = record()
    assert done.out.count("is shared as a hash") == 3
    assert done.out.count("--share_words=WORD,WORD") == 3
    assert "words" not in json.loads((work / "robot.json").read_bytes())
    send(work)
    (verdict,) = judge_all(work)
    assert verdict.status == "admitted"
    assert all(str(name).startswith("unlisted-") for name in names(verdict))
    shared = b"".join(p.read_bytes() for p in (work / "raw").rglob("*.*"))
    assert b"wuzzle" not in shared


def test_words_that_the_enrolment_does_not_state_are_refused(work: Path) -> None:
    record(f"--share_words={','.join(WORDS)}")
    send(work)
    value = json.loads((work / "robot.json").read_bytes())
    for words in (["frob", "wuzzlery"], [], None):
        changed = {**value, "words": words} if words is not None else dict(value)
        if words is None:
            del changed["words"]
        (work / "robot.json").write_text(json.dumps(changed))
        (verdict,) = judge_all(work)
        assert (verdict.status, verdict.reason) == ("quarantined", "not_redacted")
        assert "of the robot's enrolment" in verdict.detail
        assert "wuzzle" not in verdict.detail


@pytest.mark.parametrize(
    "words", ["Ada", "frob,arm2", "a b", "x" * 25, "a," * 64 + "a"]
)
def test_what_is_no_plain_word_is_wrong_usage_and_nothing_is_made(
    work: Path, words: str
) -> None:
    done = command.run(
        "edge.record",
        "--robot=frobber.py:Frobber",
        "--output=out",
        f"--share_words={words}",
    )
    assert (done.code, len(done.err.splitlines())) == (2, 1)
    assert "--share_words: expected " in done.err
    assert not (work / "out").exists()


def test_real_robots_words_are_in_the_enrolment_of_each_month(tmp_path: Path) -> None:
    real = dataclasses.replace(SPEC, simulated=False, robot_model="frob-arm")
    key = robot_key.load_or_create(tmp_path / "robot.key")
    shared = tmp_path / "out"
    for time in ("2026-02-27T09:41:12Z", "2026-05-03T18:02:44Z"):
        with open_folders(
            (shared, tmp_path / "private"),
            robot_id="arm-of-ada",
            key=key,
            robot_time=time,
            machine_time=time,
            robot=real,
            words={"frob"},
        ) as recording:
            begin_ns = unix_ns_from_rfc3339(time)
            name = make_random_id(begin_ns)
            recorder = recording.begin(real, name, begin_ns, Provenance("human"))
            for number in range(3):
                made = step(number, number == 2)
                seen = Observation(made.observation.state, begin_ns + number)
                recorder.append(dataclasses.replace(made, observation=seen))
            recording.share(recorder.close(success=True)[0])
    send(tmp_path)
    # Named once, a word is known for the months in which it was shared.
    find_words = functools.partial(robot_key.join_words, shared, words=frozenset())
    public = key.enrolments("arm-of-ada", NOW, find_words)
    (tmp_path / "robot.json").write_bytes(public)
    verdicts = judge_all(tmp_path)
    assert [verdict.status for verdict in verdicts] == ["admitted"] * 2
    assert {names(verdict)[0] for verdict in verdicts} == {"frob-arm"}
