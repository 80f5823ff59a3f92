import dataclasses
import json
from pathlib import Path

import pytest

from base.errors import MalformedError, OversizedError
from release import run_summary
from release.run_summary import ActionRange, Progress, RunSummary, Spread, TaskOutcome

_SUMMARY = RunSummary(
    package_digest="ab" * 32,
    tasks={
        "push-v3": TaskOutcome(episodes=3, successes=2, mean_steps=40.5),
        "reach-v3": TaskOutcome(episodes=1, successes=None, mean_steps=50.0),
    },
    latency_p50_us=80.25,
    latency_p99_us=100.0,
    missed_deadlines=1,
    safety_violations=0,
    clamped_steps=2,
    steps=171,
    seconds=2.5,
)
_DIGEST = b"ab" * 32
_RAW = (
    b'{"clamped_steps":2,"missed_deadlines":1,"package_digest":"' + _DIGEST + b'",'
    b'"safety_violations":0,"schema_version":1,"seconds":2.5,'
    b'"step_latency_us":{"p50":80.25,"p99":100},"steps":171,"tasks":{'
    b'"push-v3":{"episodes":3,"mean_steps":40.5,"success":0.666667,"successes":2},'
    b'"reach-v3":{"episodes":1,"mean_steps":50,"success":null,"successes":null}}}'
)
_LINE = b'{"episodes":125,"episodes_done":12,"schema_version":1}\n'


def test_summary_of_format_one_keeps_its_bytes_and_can_be_read() -> None:
    assert _SUMMARY.encode() == _RAW
    assert run_summary.parse(_RAW, "test") == _SUMMARY


def test_times_stop_rules_and_limits_come_back_from_the_file() -> None:
    whole = dataclasses.replace(
        _SUMMARY,
        timing={"work": Spread(90.5, 120.0, 4000.25), "jitter": Spread(1.0, 2.0, 3.0)},
        stop_rules={"workspace": 2, "late_share": 1},
        action_limits={"reach-v3": ActionRange((-1.0, 0.0), (1.0, 255.0))},
        examples={"reach-v3": {"success": 0, "failure": 7}},
    )
    assert run_summary.parse(whole.encode(), "test") == whole


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (b'"timing_us":{"work":{"p50":1,"p99":2}}', r"timing_us\.work\.worst"),
        (b'"timing_us":{"work":{"p50":1,"p99":2,"worst":"x"}}', "to be a number"),
        (b'"timing_us":[]', "timing_us to be an object"),
        (b'"stop_rules":{"workspace":0}', r"stop_rules\.workspace to be an integer"),
        (b'"stop_rules":7', "stop_rules to be an object"),
        (b'"examples":{"a":{"success":-1}}', r"examples\.a\.success to be an integer"),
        (b'"examples":{"a":7}', r"examples\.a to be an object"),
        (b'"action_limits":{"a":{"minimum":[0]}}', r"action_limits\.a\.maximum"),
        (
            b'"action_limits":{"a":{"minimum":[0],"maximum":[1,1]}}',
            r"action_limits\.a\.maximum to be 1 numbers",
        ),
    ],
)
def test_malformed_times_and_stop_rules_are_refused(more: bytes, expected: str) -> None:
    with pytest.raises(MalformedError, match=expected):
        run_summary.parse(_RAW[:-1] + b"," + more + b"}", "test")


def test_summary_of_the_expert_names_no_package(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(_RAW.replace(b'"' + _DIGEST + b'"', b"null"))
    assert run_summary.read(path).package_digest is None


@pytest.mark.parametrize("name", sorted(json.loads(_RAW)))
def test_missing_field_is_named(name: str) -> None:
    value = json.loads(_RAW)
    del value[name]
    with pytest.raises(MalformedError, match=f"expected field {name}"):
        run_summary.parse(json.dumps(value).encode(), "test")


@pytest.mark.parametrize(
    ("found", "changed", "expected"),
    [
        (b'"schema_version":1', b'"schema_version":2', "schema_version to be 1"),
        (_DIGEST, b"AB" * 32, "package_digest to be 64 lower-case hex"),
        (b'"steps":171', b'"steps":0', "steps to be an integer of at least 1"),
        (b'"p99":100', b'"p99":null', r"step_latency_us\.p99 to be a number"),
        (b'"steps":171', b'"steps":171,"more":1', "only fields of the format"),
        (b'"episodes":3', b'"episodes":0', r"tasks\.push-v3\.episodes"),
        (b'"successes":2', b'"successes":4', "successes to be at most 3"),
        (b'"successes":2', b'"successes":1', "success to be 0.333333"),
        (b'"successes":2', b'"successes":null', "success to be None"),
        (b"80.25", b"NaN", "strict JSON"),
    ],
)
def test_malformed_field_is_refused(
    found: bytes, changed: bytes, expected: str
) -> None:
    assert _RAW.count(found) == 1
    with pytest.raises(MalformedError, match=expected):
        run_summary.parse(_RAW.replace(found, changed), "test")


def test_more_bytes_than_the_limit_are_not_decoded(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(_RAW + b" " * run_summary.LIMIT_BYTES)
    with pytest.raises(OversizedError, match=r"summary\.json: expected at most"):
        run_summary.read(path)


def test_progress_is_one_line_and_survives_a_round_trip() -> None:
    assert Progress(12, 125).encode() == _LINE
    assert run_summary.parse_progress(_LINE, "test") == Progress(12, 125)


def test_progress_is_read_from_the_newest_complete_line(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    assert run_summary.read_progress(path) is None
    path.write_bytes(_LINE[:20])
    assert run_summary.read_progress(path) is None
    lines = [Progress(done, 9999).encode() for done in range(9999)]
    path.write_bytes(b"".join(lines) + _LINE[:20])
    assert run_summary.read_progress(path) == Progress(9998, 9999)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"run: 12/125 episodes", "strict JSON"),
        (_LINE.replace(b"1}", b"2}"), "schema_version to be 1"),
        (_LINE.replace(b"12,", b"126,"), "episodes_done to be at most 125"),
        (_LINE.replace(b"episodes_done", b"done"), "field episodes_done"),
    ],
)
def test_line_that_is_not_progress_is_refused(
    tmp_path: Path, line: bytes, expected: str
) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_bytes(line.rstrip() + b"\n")
    with pytest.raises(
        MalformedError, match=rf"progress\.jsonl: expected .*{expected}"
    ):
        run_summary.read_progress(path)
