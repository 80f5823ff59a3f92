"""The record of supervised trials on a robot, signed with the robot's key.

    {"schema_version": 1, "evidence": "trials", "package_digest": ..., ...,
     "trials": [{"pair": 0, "arm": "candidate", "outcome": "success", ...}, ...],
     "keyid": "<64 hex>", "signature": "<base64 of 64 bytes>"}

`//edge:trials` writes it and `//cloud:bless` judges by it. Trials are listed in the
order in which they were made, also those that do not count: what an operator left out
is part of the evidence. Which arm of a pair comes first follows from the session's
random number, so a record with another order was not made by the program.

The record goes into a package that every robot gets. It says neither when nor where the
robot stands, nor its name; the key is that of a month.
"""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from base import canonical_json, plain_file, text_forms
from base.errors import MalformedError
from base.json_fields import Fields, Source, decode_canonical
from release import dsse, evidence
from release.errors import BadSignatureError, UnknownKeyError
from release.limits import LIMITS
from release.paired_trials import Pairs

SCHEMA_VERSION: Final = 1
LIMIT_BYTES: Final = LIMITS.evaluation_bytes
PAYLOAD_TYPE: Final = "application/vnd.continuon.trials+json"
CANDIDATE: Final = "candidate"
BASELINE: Final = "baseline"
ARMS: Final = (CANDIDATE, BASELINE)
SUCCESS: Final = "success"
FAILURE: Final = "failure"
STOPPED: Final = "stopped"
HELPED: Final = "helped"
LEFT_OUT: Final = "left out"
BROKEN_OFF: Final = "broken off"
COUNTED: Final = (SUCCESS, FAILURE, STOPPED, HELPED)
"""Outcomes that count: a robot that a stop rule or the stop key held, or that a person
helped, did not succeed."""
OUTCOMES: Final = (*COUNTED, LEFT_OUT, BROKEN_OFF)
MOST_TRIALS: Final = 1200
MARGIN: Final = 0.15
"""Loss of success that is allowed where nobody says another one, a share of 0 to 1. A
smaller one takes more pairs than a person makes on an afternoon: 27 with this one, 42
with 0.1, of packages that never differ."""
_KEYS: Final = (
    "schema_version",
    evidence.KEY,
    "package_digest",
    "baseline_digest",
    "session",
    "planned_pairs",
    "blind",
    "robot_model",
    "environment_id",
    "task",
    "simulated",
    "max_steps",
    "trials",
    "keyid",
    "signature",
)
TRIAL_KEYS: Final = ("pair", "arm", "outcome", "steps", "stop_rule", "episodes")


@dataclass(frozen=True)
class Trial:
    """One trial.

    Attributes:
        pair: number of its pair, from 0.
        arm: which package drove, of `ARMS`.
        outcome: how it went, of `OUTCOMES`.
        steps: control steps that were made.
        stop_rule: name of the stop rule that ended it; "" if none did.
        episodes: sha256 of the file of each part of its episode, as it is shared; none
            if nothing of it was recorded.
    """

    pair: int
    arm: str
    outcome: str
    steps: int
    stop_rule: str
    episodes: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Returns the trial as `parse_trial` reads it."""
        return {
            "pair": self.pair,
            "arm": self.arm,
            "outcome": self.outcome,
            "steps": self.steps,
            "stop_rule": self.stop_rule,
            "episodes": list(self.episodes),
        }

    @property
    def counts(self) -> bool:
        """Whether it is one of its pair; else its arm is tried again."""
        return self.outcome in COUNTED


@dataclass(frozen=True)
class TrialsRecord:
    """All trials of a session.

    Attributes:
        package_digest: digest of the candidate.
        baseline_digest: digest of the package that it is compared with; None if the
            candidate is tried alone.
        session: 32 random hex characters, from which the order of the arms follows.
        planned_pairs: pairs that were planned before the first trial.
        blind: whether the operator was not told which package drove.
        robot_model: the machine.
        environment_id: where it stands, as its episodes say.
        task: what it was asked to do.
        simulated: whether the robot is simulated.
        max_steps: steps after which a trial ends.
        trials: the trials, in the order in which they were made.
        keyid: id of the robot's key; "" before it is signed.
    """

    package_digest: str
    baseline_digest: str | None
    session: str
    planned_pairs: int
    blind: bool
    robot_model: str
    environment_id: str
    task: str
    simulated: bool
    max_steps: int
    trials: tuple[Trial, ...] = ()
    keyid: str = ""

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms of each pair."""
        return ARMS if self.baseline_digest else (CANDIDATE,)

    def order(self, pair: int) -> tuple[str, ...]:
        """Returns the arms of a pair in the order in which they are tried."""
        digest = hashlib.sha256(f"{self.session} {pair}".encode()).digest()
        return self.arms[:: -1 if digest[0] & 1 else 1]

    def find_next(self) -> tuple[int, str] | None:
        """Returns pair and arm of the next trial; None if all of them were made."""
        done = {(one.pair, one.arm) for one in self.trials if one.counts}
        for pair in range(self.planned_pairs):
            for arm in self.order(pair):
                if (pair, arm) not in done:
                    return pair, arm
        return None

    def add(self, trial: Trial) -> "TrialsRecord":
        """Returns the record with one trial more.

        Raises:
            ValueError: another trial is the next one.
        """
        if (trial.pair, trial.arm) != self.find_next():
            raise ValueError(f"expected trial {self.find_next()}, got {trial}")
        return replace(self, trials=(*self.trials, trial), keyid="")

    def succeeded(self, arm: str) -> dict[int, bool]:
        """Returns whether an arm succeeded, by the number of the pair."""
        return {
            one.pair: one.outcome == SUCCESS
            for one in self.trials
            if one.arm == arm and one.counts
        }

    def count(self, arm: str, *outcomes: str) -> int:
        """Counts the trials of an arm that went in one of these ways."""
        return sum(one.arm == arm and one.outcome in outcomes for one in self.trials)

    @property
    def pairs(self) -> Pairs:
        """The pairs of which both trials were made."""
        ours, theirs = map(self.succeeded, ARMS)
        both = [(ours[k], theirs[k]) for k in ours.keys() & theirs.keys()]
        found = ((True, True), (True, False), (False, True), (False, False))
        return Pairs(*map(both.count, found))

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Returns the canonical bytes of the record, signed."""
        keyid = compute_keyid(key.public_key())
        value = replace(self, keyid=keyid)._to_json()
        signature = key.sign(dsse.pae(PAYLOAD_TYPE, canonical_json.encode(value)))
        text = base64.b64encode(signature).decode("ascii")
        return canonical_json.encode({**value, "signature": text})

    def _to_json(self) -> dict[str, object]:
        return {
            "schema_version": SCHEMA_VERSION,
            evidence.KEY: evidence.TRIALS,
            "package_digest": self.package_digest,
            "baseline_digest": self.baseline_digest,
            "session": self.session,
            "planned_pairs": self.planned_pairs,
            "blind": self.blind,
            "robot_model": self.robot_model,
            "environment_id": self.environment_id,
            "task": self.task,
            "simulated": self.simulated,
            "max_steps": self.max_steps,
            "trials": [one.to_json() for one in self.trials],
            "keyid": self.keyid,
        }


def compute_keyid(key: Ed25519PublicKey) -> str:
    """Returns the id of a robot's key: sha256 of its 32 bytes, in hex."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def read(path: Path) -> TrialsRecord:
    """Reads a record without looking at who signed it.

    Raises:
        OversizedError, MalformedError: as `parse`.
        OSError: the file cannot be read.
    """
    return parse(plain_file.read(path, LIMIT_BYTES), path)


def parse(raw: bytes, source: Source) -> TrialsRecord:
    """Parses a record without looking at who signed it.

    Raises:
        OversizedError: there are more bytes than a record may have.
        MalformedError: the bytes are not a record, or its trials are not those that the
            session asks for, in that order.
    """
    value = decode_canonical(raw, source, LIMIT_BYTES)
    fields = Fields(value, source, _KEYS)
    fields.version(SCHEMA_VERSION)
    fields.one_of(evidence.KEY, (evidence.TRIALS,))
    listed = fields.each("trials", TRIAL_KEYS)
    if len(listed) > MOST_TRIALS:
        raise fields.fail("trials", f"to be at most {MOST_TRIALS}")
    record = parse_session(fields)
    trials = tuple(parse_trial(one) for one in listed)
    return replace(with_trials(record, trials, source), keyid=fields.sha256("keyid"))


def parse_session(fields: Fields) -> TrialsRecord:
    """Reads what was settled before the first trial.

    Raises:
        MalformedError: a field is missing or wrong.
    """
    baseline = fields.has("baseline_digest")
    record = TrialsRecord(
        package_digest=fields.sha256("package_digest"),
        baseline_digest=fields.sha256("baseline_digest") if baseline else None,
        session=fields.text("session"),
        planned_pairs=fields.integer("planned_pairs", minimum=1),
        blind=fields.boolean("blind"),
        robot_model=fields.text("robot_model"),
        environment_id=fields.text("environment_id"),
        task=fields.text("task"),
        simulated=fields.boolean("simulated"),
        max_steps=fields.integer("max_steps", minimum=1),
    )
    if record.planned_pairs > MOST_TRIALS:
        raise fields.fail("planned_pairs", f"to be at most {MOST_TRIALS}")
    return record


def verify(
    raw: bytes, source: Source, keys: Mapping[str, Ed25519PublicKey]
) -> TrialsRecord:
    """Parses a record that a known robot signed.

    Args:
        raw: the bytes.
        source: their name, for errors.
        keys: the robots' keys by their ids.

    Raises:
        OversizedError, MalformedError: as `parse`.
        UnknownKeyError: another robot signed it.
        BadSignatureError: it was changed.
    """
    record = parse(raw, source)
    key = keys.get(record.keyid)
    if key is None:
        raise UnknownKeyError(source, "the key of an enrolled robot", record.keyid)
    value = decode_canonical(raw, source, LIMIT_BYTES)
    assert isinstance(value, dict), "parsed above"
    signature = text_forms.parse_base64(value.pop("signature"), source, "signature")
    try:
        key.verify(signature, dsse.pae(PAYLOAD_TYPE, canonical_json.encode(value)))
    except InvalidSignature as e:
        raise BadSignatureError(
            source, f"a valid signature by key {record.keyid}", "another one"
        ) from e
    return record


def parse_trial(fields: Fields) -> Trial:
    """Reads one trial, with the keys `TRIAL_KEYS`.

    Raises:
        MalformedError: a field is wrong.
    """
    episodes = fields.texts("episodes")
    rule = fields.raw("stop_rule")
    if not isinstance(rule, str):
        raise fields.fail("stop_rule", "to be a string")
    return Trial(
        pair=fields.integer("pair"),
        arm=fields.one_of("arm", ARMS),
        outcome=fields.one_of("outcome", OUTCOMES),
        steps=fields.integer("steps"),
        stop_rule=rule,
        episodes=episodes,
    )


def with_trials(
    record: TrialsRecord, trials: tuple[Trial, ...], source: Source
) -> TrialsRecord:
    """Returns a session with its trials, each of which is looked at once.

    Raises:
        MalformedError: they are not those that the session asks for, in that order.
    """
    plan = (
        (pair, arm)
        for pair in range(record.planned_pairs)
        for arm in record.order(pair)
    )
    due = next(plan, None)
    for number, trial in enumerate(trials):
        if (trial.pair, trial.arm) != due:
            raise MalformedError(
                source,
                f"trial {number} to be the one that the session asks for next, {due}",
                f"pair {trial.pair}, {trial.arm}",
                "use the record as //edge:trials wrote it",
            )
        if trial.counts:
            due = next(plan, None)
    return replace(record, trials=trials)
