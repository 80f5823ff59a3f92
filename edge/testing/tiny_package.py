"""A whole package around the tiny step, signed and published, for tests.

The keys are made inside the test and never leave it.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from safetensors.numpy import save_file

from base.digest import sha256_bytes
from base.store.local_store import LocalStore
from edge.robots.robot import RobotSpec
from edge.runtime_version import EXPORT_TARGET
from edge.testing import tiny_fast_update, tiny_step
from edge.testing.tiny_step import TinyStep
from release import (
    blessing,
    canary,
    dsse,
    package,
    package_folder,
    provenance,
    statement,
)
from release.canary import Expectation
from release.channel import Rollout
from release.testing.tiny_release import PrivateKey, encode_report, publish
from release.trusted_keys import TrustedKeys
from rlds import example_codec, tfrecord
from rlds.episode import Episode
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

TASKS: Final = ("reach-v3", "push-v3")
STATE_SIZE: Final = 39
ACTION_SIZE: Final = 4
PERIOD_NS: Final = 12_500_000
NOW: Final = datetime(2026, 2, 3, 8, 0, tzinfo=UTC)
CHANNEL: Final = "nightly"
SPEC: Final = RobotSpec(
    state_size=STATE_SIZE,
    action_size=ACTION_SIZE,
    control_hz=80.0,
    robot_model="sawyer",
    environment_id="drawn",
    task=TASKS[0],
    action_minimum=(-1.0,) * ACTION_SIZE,
    action_maximum=(1.0,) * ACTION_SIZE,
    simulated=True,
)
ROBOTS: Final = {"drawn:reach-v3": SPEC}
_DIGEST: Final = "0" * 64


def episode(
    seed: int,
    steps: int = 12,
    task: str = TASKS[0],
    noise: float = 0.0,
    state_size: int = STATE_SIZE,
    action_size: int = ACTION_SIZE,
) -> Episode:
    """Returns an episode of random observations and actions (zero without noise)."""
    random = np.random.default_rng(seed)

    def draw(columns: int, scale: float) -> np.ndarray:
        return (scale * random.standard_normal((steps, columns))).astype(np.float32)

    spec = EpisodeSpec(state_size=state_size, action_size=action_size)
    action = draw(action_size, noise)
    never = np.zeros(steps, np.bool_)
    return Episode(
        spec=spec,
        metadata=episodes.metadata(
            episode_id=f"01890000-0000-7000-8000-{seed:012d}",
            robot_hash=_DIGEST,
            environment_id="drawn",
            package_digest="",
            channel="",
            location="",
            tags=(),
            task=task,
            success=False,
        ),
        steps=episodes.acted(draw(state_size, 1.0), action) | {"is_terminal": never},
    )


def compute_action_error(
    step: TinyStep, episodes: list[Episode], tasks: Sequence[str] = TASKS
) -> float:
    """Returns the mean absolute action error, computed without LiteRT."""
    errors = []
    for one in episodes:
        task = np.zeros(step.tasks, np.float32)
        task[tasks.index(one.metadata.task)] = 1.0
        carry = np.zeros(step.state_size, np.float32)
        states = one.steps["observation/state"]
        for state, recorded in zip(states, one.steps["proposed_action"], strict=True):
            action, _, carry = tiny_step.expected_step(step, state, task, carry)
            errors.append(np.abs(action - recorded))
    return float(np.mean(errors))


def safety_config(**changes: Any) -> bytes:
    """Returns a safety config that fits the robot, with other or more fields."""
    config = {
        "schema_version": 1,
        "version": "1",
        "action_minimum": [-1.0] * ACTION_SIZE,
        "action_maximum": [1.0] * ACTION_SIZE,
        "max_action_delta": None,
        "stop_rules": {"max_steps": 500, "non_finite_action": "stop"},
    }
    return json.dumps({**config, **changes}).encode()


def write_package(
    folder: Path,
    seed: int = 0,
    *,
    target: str = EXPORT_TARGET,
    action_error: float | None = None,
    tolerance: float = 1e-4,
    step_bytes: bytes | None = None,
    tensors: dict[str, np.ndarray] | None = None,
    weights: bytes | None = None,
    forms: Mapping[str, bytes] | None = None,
    control_hz: float = 80.0,
    action_limit: float = 1.0,
    state_size: int = STATE_SIZE,
    action_size: int = ACTION_SIZE,
    tasks: Sequence[str] = TASKS,
    safety: bytes | None = None,
    release_counter: int = 1,
    robot_model: str = "sawyer",
    learning: Mapping[str, object] | None = None,
    learning_functions: Mapping[str, tuple[bytes, Mapping[str, object]]] | None = None,
    fast: bool | bytes = False,
    senses: Mapping[str, Sequence[int]] = MappingProxyType({}),
) -> str:
    """Writes an unsigned package and returns its digest.

    Args:
        folder: new folder.
        seed: seed of the step's weights; another seed gives another package.
        target: export target that it states.
        action_error: action error that the canary states; by default the true one.
        tolerance: deviation of that error that the canary accepts.
        step_bytes: content of the step file; by default the tiny step.
        tensors: named tensors; by default those of the step.
        weights: content of the weights file, instead of any tensors.
        forms: content of further forms of the step, by name.
        control_hz: control rate that it states, in Hz.
        action_limit: largest absolute action that its safety config allows.
        state_size: length of the state that it reads.
        action_size: length of the action that it proposes.
        tasks: the tasks that it states.
        safety: content of its safety config; by default one that fits.
        release_counter: lowest channel counter that it may be released under.
        robot_model: model of the robot that it states.
        learning: its field `learning`; None for a package that does not learn.
        learning_functions: content and signature of the functions that it calls.
        fast: whether it has a fast loop for control and no other one, or the content of
            the function that control runs.
        senses: shapes of the pictures and the sound that it reads, by their names, as
            in `robot.observation`.
    """
    sizes = {name: math.prod(shape) for name, shape in senses.items()}
    sound_size = sizes.pop("audio_mel", 0)
    step = TinyStep(
        state_size,
        action_size,
        len(tasks),
        seed,
        sound_size=sound_size,
        image_size=sum(sizes.values()),
    )
    functions = folder / "functions"
    functions.mkdir(parents=True)
    (functions / "step.tflite").write_bytes(step_bytes or tiny_step.build(step))
    forms = forms or {}
    for form, content in forms.items():
        (functions / f"step_{form}.tflite").write_bytes(content)
    called = dict(learning_functions or {})
    if fast:
        content = tiny_fast_update.build(step) if fast is True else fast
        name = tiny_fast_update.LITERT_NAME
        (functions / f"{name}.tflite").write_bytes(content)
        called[tiny_fast_update.NAME] = b"for jax", tiny_fast_update.signature(step)
        learning = tiny_fast_update.LEARNING
    for name, (content, _) in called.items():
        (functions / f"{name}.stablehlo").write_bytes(content)
    if tensors is None:
        tensors = {**step.surfaces(), "carry": np.zeros(state_size, np.float32)}
    save_file(tensors, folder / "weights.safetensors")
    if weights is not None:
        (folder / "weights.safetensors").write_bytes(weights)
    episodes = [
        episode(
            number, task=task, noise=0.1, state_size=state_size, action_size=action_size
        )
        for number, task in enumerate(tasks, start=1)
    ]
    (folder / package.CANARY).write_bytes(
        b"".join(tfrecord.frame(example_codec.encode(one)) for one in episodes)
    )
    stated = (
        compute_action_error(step, episodes, tasks)
        if action_error is None
        else action_error
    )
    expectation = Expectation(
        action_error=stated,
        tolerance=tolerance,
        steps=sum(len(one.steps["reward"]) for one in episodes),
    )
    (folder / canary.FILE).write_bytes(expectation.encode())
    limits = [action_limit] * action_size
    lowest = [-limit for limit in limits]
    own = safety_config(action_minimum=lowest, action_maximum=limits)
    (folder / "safety.json").write_bytes(safety or own)
    return package_folder.build(
        folder,
        family="tiny",
        version=f"0.0.{seed}",
        release_counter=release_counter,
        target=target,
        robot={
            "robot_model": robot_model,
            "observation": {
                name: {
                    "shape": [*shape],
                    "dtype": "uint8" if len(shape) == 3 else "float32",
                }
                for name, shape in {"state": [state_size], **senses}.items()
            },
            "action": {
                "shape": [action_size],
                "dtype": "float32",
                "minimum": [-limit for limit in limits],
                "maximum": limits,
            },
            "control_hz": control_hz,
            "tasks": list(tasks),
        },
        functions={
            name: {"path": f"functions/{name}.tflite", "inputs": [], "outputs": []}
            for name in (
                "step",
                *(f"step_{form}" for form in forms),
                *([tiny_fast_update.LITERT_NAME] if fast else []),
            )
        }
        | {
            name: {"path": f"functions/{name}.stablehlo", **signature}
            for name, (_, signature) in called.items()
        },
        surfaces={
            name.removeprefix("surface_"): {"size": value.size, "bound": 1.0}
            for name, value in step.surfaces().items()
        },
        backbone_digest=_DIGEST,
        safety_version="1",
        metadata={
            "dataset_name": "drawn",
            "dataset_version": "1.0.0",
            "dataset_manifest_digest": _DIGEST,
            "code_commit": "0" * 40,
            "hardware": "test",
            "training_config": {},
            "metrics": {},
            "export_target": target,
            "jax_version": "0",
        },
        learning=learning,
    )


def sign_package(
    folder: Path, digest: str, key: PrivateKey, verdict: str = blessing.BLESSED
) -> None:
    """Writes both statements about a package, and the report of its evaluation."""
    manifest = package.parse((folder / package.MANIFEST).read_bytes())
    stated = provenance.Provenance(
        package_digest=digest,
        dataset_manifest_digest=manifest.metadata.dataset_manifest_digest,
        dataset_uri="file:///dataset",
        dataset_name=manifest.metadata.dataset_name,
        dataset_version=manifest.metadata.dataset_version,
        code_commit=manifest.metadata.code_commit,
        code_uri="file:///code",
        hardware=manifest.metadata.hardware,
        safety_version=manifest.safety_version,
        export_target=manifest.target,
        training_config=manifest.metadata.training_config,
        run_id="run",
        started=NOW - timedelta(hours=2),
        finished=NOW - timedelta(hours=1),
    )
    report = encode_report(digest)
    verdict_record = blessing.Blessing(
        package_digest=digest,
        verdict=verdict,
        reasons=("measured in a test",),
        report_digest=sha256_bytes(report),
        issued=NOW - timedelta(minutes=30),
    )
    (folder / package.EVALUATION).write_bytes(report)
    for name, raw in (
        (package.PROVENANCE, stated.statement()),
        (package.BLESSING, verdict_record.statement()),
    ):
        (folder / name).write_bytes(dsse.sign(raw, statement.PAYLOAD_TYPE, [key]))


@dataclass(frozen=True)
class Publisher:
    """A store, and the key that signs everything in it."""

    folder: Path
    key: PrivateKey = field(default_factory=PrivateKey.generate)

    @property
    def store(self) -> LocalStore:
        """The store."""
        self.root.mkdir(parents=True, exist_ok=True)
        return LocalStore(self.root)

    @property
    def root(self) -> Path:
        """Folder of the store."""
        return self.folder / "store"

    @property
    def trusted(self) -> TrustedKeys:
        """The keyring that trusts the key, development keys included."""
        return TrustedKeys.from_keys(self.key.trusted, allow_development=True)

    @property
    def channel_uri(self) -> str:
        """URI of the channel that robots follow."""
        return f"{self.root.absolute().as_uri()}/channels/{CHANNEL}.json"

    def keyring(self) -> Path:
        """Writes the keyring file and returns it."""
        path = self.folder / "keyring.json"
        path.write_bytes(self.trusted.encode())
        return path

    def release(
        self,
        seed: int,
        *,
        now: datetime = NOW,
        expires: datetime | None = None,
        rollout: Rollout = publish.DEFAULT_ROLLOUT,
        minimum_runtime: str = "0.0.1",
        channel_counter: int | None = None,
        **options: Any,
    ) -> str:
        """Makes, signs and publishes a package; returns its digest.

        `options` are those of `write_package`.
        """
        folder = self.folder / f"package-{seed}"
        if folder.exists():
            digest = package.parse((folder / package.MANIFEST).read_bytes()).digest
        else:
            digest = write_package(folder, seed, **options)
            sign_package(folder, digest, self.key)
        publish.publish(
            self.store,
            CHANNEL,
            folder,
            [self.key],
            self.trusted,
            now,
            expires or now + timedelta(days=7),
            rollout,
            minimum_runtime,
            channel_counter,
        )
        return digest
