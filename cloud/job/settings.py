"""All settings of the main job, as one record of records, each with its defaults.

`base.record_flags` defines the flags of `//cloud:train` from these records; the
notebook creates the records directly. Values for empty settings are decided here too.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import jax

from base import project_version, record_flags
from base.record_flags import setting
from cloud import build_facts, locations, programs
from cloud.evaluate.held_out_verdict import HeldOutGates
from cloud.evaluate.settings import EvaluateSettings
from cloud.evaluate.verdict import Gates
from cloud.job import action_limits
from cloud.job.action_limits import ActionLimits
from cloud.train import mesh, profile
from cloud.train.config import TrainConfig
from cloud.train.mesh import MeshShape
from cloud.train.profile import ProfileRange
from release import channel_verification

ARTIFACTS = "continuon-model-artifacts"
TARGET = "pi5-cpu"
HOME = "~/.local/share/continuon"
CACHE = "~/.cache/continuon"

_DEMO_DATASET = "cloud/demo/dataset"
_DEMO_DATASET_NAME = "//cloud/demo:dataset"
_DEMO_EXPERT_BASELINE = "cloud/demo/expert_baseline.json"


@dataclasses.dataclass(frozen=True)
class DatasetSettings:
    """Which episodes a run learns from.

    Attributes:
        location: folder or URI of a dataset version; default: the simulated episodes
            that Bazel builds as //cloud/demo:dataset.
        tasks: tasks to train and evaluate, a name with a comma in double quotes;
            default: all of the dataset.
    """

    location: str = setting("", flag="dataset")
    tasks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the dataset for people; Bazel's folders have long paths."""
        return self.location or _DEMO_DATASET_NAME

    @property
    def uri(self) -> str:
        """URI of the dataset version.

        Raises:
            ProgramMissingError: no dataset is given and Bazel has built none.
        """
        return locations.to_uri(self.location or programs.locate(_DEMO_DATASET))


@dataclasses.dataclass(frozen=True)
class PublishSettings:
    """The package's name, the limits of its actions, and where it is published.

    Attributes:
        family: name of the model's family.
        channel: channel to publish on with a development key.
        if_blessed: publish the package if it is blessed.
        expires_days: days until robots stop believing the channel.
        action_minimum: lowest action, in the robot's unit: one number for all
            channels, or one per channel, as -3.14,-3.14,0. Where the robot that
            evaluates accepts less, the package's limits are the robot's.
        action_maximum: highest action, in the robot's unit, as action_minimum.

    Raises:
        ValueError: a value is out of its range.
    """

    family: str = "wavecore"
    channel: str = setting("nightly", choices=["nightly"])
    if_blessed: bool = setting(True, flag="publish")
    expires_days: float = setting(30.0, minimum=0.01)
    action_minimum: tuple[float, ...] = (-1.0,)
    action_maximum: tuple[float, ...] = (1.0,)

    def limits(self, action_size: int) -> ActionLimits:
        """Returns the limits of each channel of an action.

        Raises:
            ActionLimitsError: they do not fit an action of this size.
        """
        return action_limits.for_channels(
            self.action_minimum, self.action_maximum, action_size
        )

    def __post_init__(self) -> None:
        record_flags.require_limits(self)
        longest = channel_verification.LONGEST_CHANNEL_LIFE.days
        if self.expires_days > longest:
            raise ValueError(
                f"expires_days: expected at most {longest}, which robots believe, got "
                f"{self.expires_days}"
            )


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Where a run keeps its files, and on which devices it trains.

    Attributes:
        store: folder on this machine, or one that it has mounted, for all that has no
            folder of its own below; default: ~/.local/share/continuon.
        artifacts: folder or URI of runs, packages and channels, to which nothing is
            added, such as gs://continuon-model-artifacts; default:
            continuon-model-artifacts in the store.
        keys_dir: folder of the development key; default: keys in the store.
        cache_dir: folder on this machine for offsets and mapped steps of the dataset,
            which may be removed between runs; default: cache in the store, or
            ~/.cache/continuon if several processes share it.
        work_dir: folder for runs whose artifacts are not on this machine.
        code_commit: commit of the code; default: that of the checkout.
        resume: id of the run to continue; default: any unfinished run with the same
            settings.
        required_disk_mb: free disk that a run needs to start, in MB.
        mesh: devices along each axis, as data=4,fsdp=2: both divide the windows of an
            update, fsdp also divides parameters and optimiser state; default: all
            devices on data.
        coordinator_address: host:port of the first of several processes that train
            together, or auto on a TPU or cluster that tells each process its index;
            default: one process.
        process_count: processes that train together.
        process_index: index of this process, from 0; the first writes reports and
            packages.
        profile: updates to trace into the run's tensorboard folder: 10 for ten updates
            after warm-up, or a range such as 100-110; default: none.
        summary_json: file to write the results to, as JSON; default: none.

    Raises:
        ValueError: a value is out of its range.
    """

    store: str = ""
    artifacts: str = ""
    keys_dir: str = ""
    cache_dir: str = ""
    work_dir: str = setting(CACHE, flag="")
    code_commit: str = ""
    resume: str = ""
    required_disk_mb: int = setting(500, minimum=0)
    mesh: str = ""
    coordinator_address: str = ""
    process_count: int = setting(1, minimum=1)
    process_index: int = setting(0, minimum=0)
    profile: str = ""
    summary_json: str = ""

    def __post_init__(self) -> None:
        record_flags.require_limits(self)
        profile.parse(self.profile)
        if locations.local_folder(locations.to_uri(self.store)) is None:
            raise ValueError(
                f"store: expected a folder of this machine, got {self.store}; "
                "--artifacts names a bucket"
            )

    @property
    def store_folder(self) -> Path:
        """Folder of the store, on this machine."""
        folder = locations.local_folder(locations.to_uri(self.store or HOME))
        assert folder is not None, "checked on construction"
        return folder

    @property
    def artifacts_uri(self) -> str:
        """URI of runs, packages and channels."""
        if self.artifacts:
            return locations.to_uri(self.artifacts)
        return (self.store_folder / ARTIFACTS).as_uri()

    @property
    def keys_folder(self) -> Path:
        """Folder of the development key, on this machine."""
        return _absolute(self.keys_dir or self.store_folder / "keys")

    @property
    def cache_folder(self) -> Path:
        """Folder of the mapped dataset.

        It is on this machine, never in a store that several machines share.
        """
        alone = jax.process_count() == 1
        home = self.store_folder / "cache" if alone else CACHE
        return _absolute(self.cache_dir or home)

    @property
    def work_folder(self) -> Path:
        """Folder for runs whose artifacts are not on this machine."""
        return _absolute(self.work_dir)

    @property
    def state_dir(self) -> Path:
        """Folder of the robot's state in the suggested command.

        The store contains it: each numbers its releases from 1, and a robot that has
        installed release 1 of one refuses release 1 of another. So each --artifacts has
        its own folder too.
        """
        if self.artifacts:
            root = hashlib.sha256(self.artifacts_uri.encode()).hexdigest()
            return self.work_folder / f"robot-{root[:12]}"
        return self.store_folder / "robot"

    @property
    def required_disk_bytes(self) -> int:
        """Free disk that a run needs before it starts."""
        return self.required_disk_mb * 1_000_000

    @property
    def mesh_shape(self) -> MeshShape:
        """Devices along each axis, over all processes.

        Raises:
            MeshError: the text has another form, or does not name all devices.
        """
        return mesh.parse(self.mesh, jax.device_count())

    @property
    def profile_range(self) -> ProfileRange | None:
        """Updates to trace, None for none."""
        return profile.parse(self.profile)


@dataclasses.dataclass(frozen=True)
class JobSettings:
    """All settings of the main job.

    Attributes:
        dataset: which episodes the run learns from.
        train: how the model is trained.
        evaluate: how the package is evaluated.
        gates: what the package must achieve.
        held_out_gates: what it must achieve where no simulator has the robot.
        publish: the package's name and where it is published.
        run: where the run keeps its files, and on which devices it trains.
    """

    dataset: DatasetSettings = dataclasses.field(default_factory=DatasetSettings)
    train: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    evaluate: EvaluateSettings = dataclasses.field(default_factory=EvaluateSettings)
    gates: Gates = dataclasses.field(default_factory=Gates)
    held_out_gates: HeldOutGates = dataclasses.field(default_factory=HeldOutGates)
    publish: PublishSettings = dataclasses.field(default_factory=PublishSettings)
    run: RunSettings = dataclasses.field(default_factory=RunSettings)

    def on_this_machine(self, checkout: Path | None) -> JobSettings:
        """Fills in the open settings from this machine's devices and the checkout.

        Args:
            checkout: the checkout of the code; None if it does not run from one.

        Raises:
            ProgramMissingError: no dataset is given and Bazel has built none.
            MeshError: the mesh does not use exactly the available devices.
        """
        _ = self.dataset.uri  # raises if the dataset is missing, before any work
        commit = self.run.code_commit or project_version.code_commit(checkout)
        shape = str(self.run.mesh_shape)
        return dataclasses.replace(
            self,
            train=self.train.for_platform(jax.default_backend(), jax.device_count()),
            run=dataclasses.replace(self.run, mesh=shape, code_commit=commit),
        )

    @property
    def channel_uri(self) -> str:
        """URI of the channel file, as `//edge:run` takes it."""
        return f"{self.run.artifacts_uri}/channels/{self.publish.channel}.json"

    @property
    def expert_baseline(self) -> Path | None:
        """File with the expert's success on the default trials, None if not built."""
        built = programs.root() / _DEMO_EXPERT_BASELINE
        return built if built.exists() else None

    def training_config(self) -> dict[str, object]:
        """Returns every training setting, as it is written to the package.

        A run may continue on another mesh than it started on, or with other flags of
        the compiler. These are the ones that it ends with, so they are not part of the
        run's identity.
        """
        where = {"mesh": str(self.run.mesh_shape), "processes": jax.process_count()}
        flags = {"device_flags": build_facts.device_flags()}
        return dataclasses.asdict(self.train) | where | flags


def _absolute(folder: str | Path) -> Path:
    return Path(folder).expanduser().absolute()
