"""Writes a dataset version in a format of others, and says what that cannot hold.

The result appears whole or not at all. Every episode is held against the manifest while
it is read.
"""

import dataclasses
import pathlib
import shutil

import rich.console

from base import canonical_json, durable_file
from base.store import store
from cloud import locations
from cloud.console import WorkProgress
from cloud.curate import version_place
from cloud.curate.plan import TRAIN
from cloud.dataset import recorded_robot, shard_check, stored_episodes, version
from cloud.dataset.stored_episodes import StoredEpisodes
from cloud.errors import DatasetError, DatasetExistsError
from rlds import manifest as manifest_format
from rlds import tfds_features
from rlds.manifest import Manifest
from rlds.spec import age_field
from rlds.tfds_directory import FEATURES_FILE, INFO_FILE

FORMATS = ("lerobot", "tfds", "mcap")
REPORT_FILE = "export.json"
_NS_PER_S = 1e9
# Of an episode, by format: LeRobot has no field for these.
_LEROBOT_LACKS = {
    "discount": "LeRobot has no field for it",
    "deadline_missed": "LeRobot has no field for it",
    "safety_violation": "LeRobot has no field for it",
    "is_terminal": "LeRobot says only that an episode is done",
    "observation/audio_mel": "LeRobot has no field for it",
    "t_monotonic_ns": "frames are on the grid of one rate",
    "robot_hash, start_time, operator, tags …": "LeRobot has no field for them",
}


@dataclasses.dataclass(frozen=True)
class Exported:
    """What was written, and what was not carried over with the reason."""

    episodes: int
    steps: int
    left_behind: dict[str, str]


def export(
    dataset_uri: str,
    format_name: str,
    output: pathlib.Path,
    console: rich.console.Console,
) -> Exported:
    """Writes a version to a new folder.

    Args:
        dataset_uri: the dataset version.
        format_name: one of `FORMATS`.
        output: the new folder.
        console: where progress is shown.

    Raises:
        DatasetError, ManifestError: there is no version.
        ShardMismatchError: it is not what its manifest says.
        DatasetExistsError: there is something at the output.
        OSError: a file cannot be written.
    """
    if output.exists() and any(output.iterdir()):
        raise DatasetExistsError(output, "no folder or an empty one", "files")
    manifest = version.read_manifest(dataset_uri, TRAIN)
    uri = output.absolute().as_uri()
    with version_place.build_folder(uri) as build:
        made = build / "dataset"
        made.mkdir()
        if format_name == "tfds":
            left_behind = _copy(dataset_uri, manifest, made)
        else:
            left_behind = _write(
                dataset_uri, manifest, format_name, made, build / "offsets", console
            )
        found = Exported(
            len(manifest.episodes),
            sum(entry.num_steps for entry in manifest.episodes),
            left_behind,
        )
        report = {
            "dataset": manifest.dataset,
            "version": manifest.version,
            "manifest_sha256": manifest_format.digest(manifest),
            "not_carried_over": left_behind,
        }
        durable_file.write(made / REPORT_FILE, canonical_json.encode(report) + b"\n")
        version_place.move(made, uri)
    return found


def _copy(uri: str, manifest: Manifest, folder: pathlib.Path) -> dict[str, str]:
    """Copies the shards and what TFDS reads: a version is in its form already."""
    source = store.open_store(uri)
    shard_check.verify_shards(source, manifest)
    sizes = {
        s.path: s.size_bytes for shards in manifest.splits.values() for s in shards
    }
    for name in (FEATURES_FILE, INFO_FILE):
        sizes[name] = tfds_features.LIMIT_BYTES
    local = locations.local_folder(uri)
    for path, size_bytes in sizes.items():
        target = folder / path
        target.parent.mkdir(exist_ok=True)
        if local is not None:
            shutil.copyfile(local / path, target)
        else:
            durable_file.write(target, source.get(path, size_bytes))
    return {}


def _write(
    uri: str,
    manifest: Manifest,
    format_name: str,
    folder: pathlib.Path,
    offsets: pathlib.Path,
    console: rich.console.Console,
) -> dict[str, str]:
    opened = {
        split: stored_episodes.open_episodes(uri, manifest, split, offsets)
        for split in manifest.splits
    }
    total = len(manifest.episodes)
    with WorkProgress(console, "export", total, "episodes") as progress:
        if format_name == "mcap":
            return _write_mcap(opened, folder, progress)
        return _write_lerobot(opened, manifest, folder, progress)


def _write_mcap(
    opened: dict[str, StoredEpisodes], folder: pathlib.Path, progress: WorkProgress
) -> dict[str, str]:
    # Each is imported when it is needed: a format costs no other one.
    from cloud.exchange import mcap_writer

    done = 0
    for split, episodes in opened.items():
        (folder / split).mkdir()
        for episode in episodes:
            path = folder / split / f"{episode.metadata.episode_id}.mcap"
            mcap_writer.write(path, episode)
            done += 1
            progress.show(done, "")
    return {}


def _write_lerobot(
    opened: dict[str, StoredEpisodes],
    manifest: Manifest,
    folder: pathlib.Path,
    progress: WorkProgress,
) -> dict[str, str]:
    from cloud.exchange.lerobot_writer import LerobotWriter

    records = [record for one in opened.values() for _, record in one.records]
    periods = [record.period_ns for record in records if record.period_ns]
    if not periods:
        raise DatasetError(
            f"{manifest.dataset} {manifest.version}",
            "episodes in which time passes, which gives LeRobot its rate",
            "none",
        )
    fps = round(_NS_PER_S / sorted(periods)[len(periods) // 2], 3)
    robots = recorded_robot.describe_values(
        {record.sha256: record.robot_model for record in records}
    )
    one_robot = {record.robot_model for record in records}
    first = next(one for one in opened.values() if len(one))
    all_known = all(
        episode.metadata.success is not None
        for one in opened.values()
        for episode in one
    )
    writer = LerobotWriter(
        folder,
        first.spec,
        fps,
        robots if len(one_robot) > 1 else one_robot.pop(),
        all_known,
    )
    done = 0
    for split, episodes in opened.items():
        for episode in episodes:
            writer.add(episode, split)
            done += 1
            progress.show(done, "")
    writer.finish()
    lacks = dict(_LEROBOT_LACKS)
    for name in first.spec.picture_fields:
        lacks[name] = "pictures are encoded again, as video"
    for camera in first.spec.cameras:
        lacks[age_field(camera)] = "LeRobot has no field for it"
    if not first.spec.audio_size:
        del lacks["observation/audio_mel"]
    return lacks
