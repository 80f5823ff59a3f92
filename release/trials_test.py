"""The record of trials: its order cannot be chosen, and nobody can change it."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base import canonical_json
from base.errors import MalformedError
from release import evidence, trials
from release.errors import BadSignatureError, UnknownKeyError
from release.paired_trials import Pairs
from release.trials import Trial, TrialsRecord

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEYS = {trials.compute_keyid(KEY.public_key()): KEY.public_key()}
EMPTY = TrialsRecord(
    package_digest="a" * 64,
    baseline_digest="b" * 64,
    session="0123456789abcdef" * 2,
    planned_pairs=6,
    blind=True,
    robot_model="desk-arm",
    environment_id="desk",
    task="pour",
    simulated=False,
    max_steps=400,
)


def add(record: TrialsRecord, *outcomes: str) -> TrialsRecord:
    for outcome in outcomes:
        due = record.find_next()
        assert due is not None
        record = record.add(Trial(*due, outcome, 40, "", ("c" * 64,)))
    return record


WHOLE = add(EMPTY, *["success", "failure", "left out", "stopped", "helped"] * 3)


def test_record_survives_a_round_trip_and_names_its_evidence() -> None:
    raw = WHOLE.sign(KEY)
    assert replace(trials.verify(raw, "x", KEYS), keyid="") == WHOLE
    assert trials.parse(raw, "x").keyid in KEYS
    assert evidence.find(raw, "x") == ("trials",)


def test_arms_of_pairs_are_in_random_order_that_the_session_fixes() -> None:
    orders = [replace(EMPTY, planned_pairs=200).order(pair) for pair in range(200)]
    first = [order[0] for order in orders]
    assert 70 < first.count("candidate") < 130
    assert orders == [EMPTY.order(pair) for pair in range(200)]
    other = replace(EMPTY, session="f" * 32)
    assert first != [other.order(pair)[0] for pair in range(200)]


def test_trial_that_does_not_count_is_listed_and_made_again() -> None:
    due = EMPTY.find_next()
    left = add(EMPTY, "left out", "broken off")
    assert left.find_next() == due
    assert len(left.trials) == 2
    assert left.pairs.count == 0
    assert add(left, "success").find_next() != due


def test_pairs_are_counted_by_how_both_trials_went() -> None:
    record = EMPTY
    for pair in range(4):
        for _ in range(2):
            _, arm = record.find_next() or (0, "")
            good = {"candidate": pair in (0, 1), "baseline": pair in (0, 2)}[arm]
            record = add(record, "success" if good else "stopped")
    assert record.pairs == Pairs(1, 1, 1, 1)
    assert add(record, "success").pairs.count == 4, "half a pair is none"
    assert record.count("candidate", "stopped") == 2


def test_candidate_alone_has_one_trial_a_pair() -> None:
    alone = add(replace(EMPTY, baseline_digest=None), *["success"] * 6)
    assert alone.find_next() is None
    assert alone.succeeded("candidate") == dict.fromkeys(range(6), True)
    assert trials.parse(alone.sign(KEY), "x").baseline_digest is None


def change(how: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(WHOLE.sign(KEY))
    how(value)
    return canonical_json.encode(value)


def swap(value: dict[str, Any]) -> None:
    listed = value["trials"]
    listed[0], listed[1] = listed[1], listed[0]


@pytest.mark.parametrize(
    "how",
    [
        swap,
        lambda v: v["trials"].pop(0),
        lambda v: v["trials"].append(v["trials"][0]),
        lambda v: v["trials"][0].update(outcome="won"),
        lambda v: v["trials"][0].update(arm="other"),
        lambda v: v["trials"][0].update(steps=-1),
        lambda v: v["trials"][0].update(episodes=[1]),
        lambda v: v.update(session="f" * 32),
        lambda v: v.update(evidence="simulated"),
        lambda v: v.update(planned_pairs=0),
        lambda v: v.update(planned_pairs=10**9),
        lambda v: v.update(package_digest="a"),
        lambda v: v.pop("keyid"),
        lambda v: v.update(more=1),
    ],
)
def test_other_trials_than_the_session_asks_for_are_no_record(
    how: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(MalformedError):
        trials.parse(change(how), "x")


@pytest.mark.parametrize(
    "how",
    [
        lambda v: v["trials"][0].update(outcome="failure"),
        lambda v: v["trials"].pop(),
        lambda v: v.update(blind=False),
        lambda v: v.update(simulated=True),
        lambda v: v.update(package_digest="e" * 64),
    ],
)
def test_changed_record_fails_by_its_signature(
    how: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(BadSignatureError):
        trials.verify(change(how), "x", KEYS)


def test_record_of_a_robot_that_is_not_enrolled_is_refused() -> None:
    with pytest.raises(UnknownKeyError):
        trials.verify(WHOLE.sign(KEY), "x", {})


def test_longest_record_can_be_read() -> None:
    record = replace(EMPTY, planned_pairs=600)
    many = replace(
        record,
        trials=tuple(
            Trial(pair, arm, "success", 400, "", ("c" * 64,))
            for pair in range(600)
            for arm in record.order(pair)
        ),
    )
    raw = many.sign(KEY)
    assert trials.parse(raw, "x").pairs.count == 600
    assert len(raw) < trials.LIMIT_BYTES
