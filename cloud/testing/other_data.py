"""Small datasets in the forms of others, written with their libraries."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cloud.exchange import quiet_tensorflow
from rlds import tfrecord

FPS = 10
SIZE = (32, 24)
"""Width and height of pictures, in pixels, unless another one is asked for."""
CAMERAS = ("observation.images.top", "observation.images.wrist")
TASK = "put the cup on the plate"

Step = dict[str, Any]
Change = Callable[[bytes], bytes]
Frames = dict[str, np.ndarray]
"""The columns of an episode."""


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Returns a smooth picture u8 [h w 3] that no other number has."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    level = (number * 37) % 200
    channels = (level + 0 * x, 255 * x // width, 255 * y // height)
    return np.stack(channels, axis=2).astype(np.uint8)


def oxe_features(size: tuple[int, int] = SIZE, *, pictures: bool = True) -> Any:  # noqa: ANN401 - TFDS has no types
    """Returns features as datasets of Open X-Embodiment have them."""
    _, tfds = quiet_tensorflow.load()
    kinds = tfds.features
    width, height = size
    observation = {
        "state": kinds.Tensor(shape=(3,), dtype=np.float64),
        "gripper": kinds.Scalar(dtype=np.float32),
    }
    if pictures:
        colour = (height, width, 3)
        observation |= {
            "image": kinds.Image(shape=colour, encoding_format="jpeg"),
            "wrist_image": kinds.Image(shape=colour, encoding_format="png"),
            "depth": kinds.Image(
                shape=(height, width, 1), dtype=np.uint16, encoding_format="png"
            ),
        }
    return kinds.FeaturesDict(
        {
            "steps": kinds.Dataset(
                {
                    "observation": observation,
                    "action": {
                        "arm": kinds.Tensor(shape=(2,), dtype=np.float32),
                        "gripper": kinds.Scalar(dtype=np.int32),
                    },
                    "reward": kinds.Scalar(dtype=np.float32),
                    "discount": kinds.Scalar(dtype=np.float32),
                    "is_first": kinds.Scalar(dtype=np.bool_),
                    "is_last": kinds.Scalar(dtype=np.bool_),
                    "is_terminal": kinds.Scalar(dtype=np.bool_),
                    "language_instruction": kinds.Text(),
                    "language_embedding": kinds.Tensor(shape=(512,), dtype=np.float32),
                }
            ),
            "episode_metadata": {"file_path": kinds.Text()},
        }
    )


def oxe_steps(
    count: int,
    number: int = 0,
    size: tuple[int, int] = SIZE,
    *,
    pictures: bool = True,
) -> list[Step]:
    """Returns the steps of one episode; equal arguments give equal steps."""
    random = np.random.default_rng(number)
    return [
        {
            "observation": {
                "state": random.standard_normal(3),
                "gripper": np.float32(step),
                **(_shown(number + step, size) if pictures else {}),
            },
            "action": {
                "arm": random.standard_normal(2).astype(np.float32),
                "gripper": np.int32(step % 2),
            },
            "reward": np.float32(step == count - 1),
            "discount": np.float32(1),
            "is_first": step == 0,
            "is_last": step == count - 1,
            "is_terminal": step == count - 1,
            "language_instruction": TASK,
            "language_embedding": np.zeros(512, np.float32),
        }
        for step in range(count)
    ]


def _shown(number: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    width, height = size
    return {
        "image": picture(number, size),
        "wrist_image": picture(number + 1, size),
        "depth": np.zeros((height, width, 1), np.uint16),
    }


def write_rlds(
    folder: Path,
    splits: Mapping[str, Sequence[Sequence[Step]]],
    features: Any = None,  # noqa: ANN401 - TFDS has no types
    changes: Mapping[tuple[str, int], Change] | None = None,
) -> Path:
    """Writes a folder that TFDS opens, one file for each split.

    Args:
        folder: the new folder.
        splits: the steps of each episode of each split.
        features: of TFDS; None for `oxe_features`.
        changes: what is done to the bytes of single records, by split and number.
    """
    _, tfds = quiet_tensorflow.load()
    features = features or oxe_features()
    folder.mkdir(parents=True)
    infos = []
    for split, episodes in splits.items():
        encoded: dict[int, bytes] = {}  # an episode may stand there many times
        records = []
        for number, steps in enumerate(episodes):
            if id(steps) not in encoded:
                encoded[id(steps)] = _encode(features, steps)
            change = (changes or {}).get((split, number))
            raw = encoded[id(steps)]
            records.append(raw if change is None else change(raw))
        infos.append(
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[len(records)],
                num_bytes=0,
                filename_template=tfds.core.ShardedFileTemplate(
                    data_dir=folder,
                    dataset_name="arms",
                    split=split,
                    filetype_suffix="tfrecord",
                ),
            )
        )
        name = f"arms-{split}.tfrecord-00000-of-00001"
        framed = [r if r.startswith(RAW) else tfrecord.frame(r) for r in records]
        (folder / name).write_bytes(b"".join(r.removeprefix(RAW) for r in framed))
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=infos,
        version="1.0.0",
        check_data=False,
    )
    info = folder / "dataset_info.json"
    value = json.loads(info.read_text())
    info.write_text(json.dumps({**value, "name": "arms"}))
    return folder


def _encode(features: Any, steps: Sequence[Step]) -> bytes:  # noqa: ANN401
    example: dict[str, Any] = {"steps": list(steps)}
    if "episode_metadata" in features:
        example["episode_metadata"] = {"file_path": "/home/ada/episode"}
    raw: bytes = features.serialize_example(features.encode_example(example))
    return raw


RAW = b"raw:"
"""What a changed record begins with that is written without a frame."""


def without(feature: str) -> Change:
    """Returns a change that removes a feature from a record."""
    tf, _ = quiet_tensorflow.load()

    def change(raw: bytes) -> bytes:
        example = tf.train.Example.FromString(raw)
        del example.features.feature[feature]
        done: bytes = example.SerializeToString()
        return done

    return change


def with_text(feature: str, text: bytes) -> Change:
    """Returns a change that gives every step of a record other bytes for a text."""
    tf, _ = quiet_tensorflow.load()

    def change(raw: bytes) -> bytes:
        example = tf.train.Example.FromString(raw)
        values = example.features.feature[feature].bytes_list.value
        values[:] = [text] * len(values)
        done: bytes = example.SerializeToString()
        return done

    return change


def with_a_wrong_checksum(raw: bytes) -> bytes:
    """Changes a record into one whose checksum is wrong."""
    framed = bytearray(tfrecord.frame(raw))
    framed[-1] ^= 1
    return RAW + bytes(framed)


def write_lerobot(
    folder: Path,
    lengths: Sequence[int],
    *,
    version: str = "v3.0",
    per_file: int = 2,
    videos: bool = True,
    size: tuple[int, int] = SIZE,
    change: Callable[[int, Frames], None] | None = None,
    task_column: str = "task",
) -> Path:
    """Writes a dataset as LeRobot lays it out.

    Args:
        folder: the new folder.
        lengths: number of frames of each episode.
        version: `v3.0`, or `v2.1` with a file for each episode.
        per_file: episodes in one data file and one video, of version 3.
        videos: whether there are two cameras.
        size: width and height of their pictures, in pixels.
        change: what is done to the columns of an episode, which it may replace.
        task_column: name of the texts in the list of tasks; pandas names an index
            without a name `__index_level_0__`.
    """
    (folder / "meta").mkdir(parents=True)
    old = version.startswith("v2")
    per_file = 1 if old else per_file
    rows: list[dict[str, Any]] = []
    total = 0
    for first in range(0, len(lengths), per_file):
        members = range(first, min(first + per_file, len(lengths)))
        number = first // per_file
        frames = []
        for index in members:
            frame = _frames(index, lengths[index], total)
            if change is not None:
                change(index, frame)
            frames.append(pa.table({n: _column(v) for n, v in frame.items()}))
            total += lengths[index]
        data = _place(folder, "data", number, old=old, suffix="parquet")
        pq.write_table(pa.concat_tables(frames), data)
        shown = 0
        for camera in CAMERAS if videos else ():
            path = _place(folder, "videos", number, old=old, suffix="mp4", key=camera)
            _write_video(path, [(i, lengths[i]) for i in members], camera, size)
        for index in members:
            row: dict[str, Any] = {
                "episode_index": index,
                "tasks": [TASK],
                "length": lengths[index],
                "data/chunk_index": 0,
                "data/file_index": number,
            }
            for camera in CAMERAS if videos else ():
                row |= {
                    f"videos/{camera}/chunk_index": 0,
                    f"videos/{camera}/file_index": number,
                    f"videos/{camera}/from_timestamp": shown / FPS,
                    f"videos/{camera}/to_timestamp": (shown + lengths[index]) / FPS,
                }
            shown += lengths[index]
            rows.append(row)
    _describe(folder, version, rows, total, size if videos else None, task_column)
    return folder


def _frames(index: int, count: int, before: int) -> Frames:
    random = np.random.default_rng(index)
    return {
        "observation.state": random.standard_normal((count, 3)).astype(np.float32),
        "action": random.standard_normal((count, 2)).astype(np.float32),
        "next.reward": np.arange(count, dtype=np.float32),
        "timestamp": (np.arange(count) / FPS).astype(np.float32),
        "frame_index": np.arange(count),
        "episode_index": np.full(count, index),
        "index": before + np.arange(count),
        "task_index": np.zeros(count, np.int64),
    }


def _column(values: np.ndarray) -> pa.Array:
    """Returns lists, as pandas writes the rows of an array, or numbers."""
    return pa.array(list(values) if values.ndim > 1 else values)


def _place(
    folder: Path, kind: str, number: int, *, old: bool, suffix: str, key: str = ""
) -> Path:
    if old:
        path = folder / kind / "chunk-000" / key / f"episode_{number:06d}.{suffix}"
    else:
        path = folder / kind / key / "chunk-000" / f"file-{number:03d}.{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_video(
    path: Path,
    members: Sequence[tuple[int, int]],
    camera: str,
    size: tuple[int, int],
) -> None:
    """Writes the pictures of episodes one after the other."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        at = 0
        for index, count in members:
            for step in range(count):
                pixels = picture(video_number(index, step, camera), size)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = at
                at += 1
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def video_number(index: int, step: int, camera: str = CAMERAS[0]) -> int:
    """Returns the number of the picture of a frame; see `picture`."""
    return 100 * index + step + 7 * CAMERAS.index(camera)


def _describe(
    folder: Path,
    version: str,
    rows: Sequence[Mapping[str, Any]],
    total: int,
    size: tuple[int, int] | None,
    task_column: str,
) -> None:
    features: dict[str, Any] = {
        "observation.state": {
            "dtype": "float32",
            "shape": [3],
            "names": ["x", "y", "z"],
        },
        "action": {"dtype": "float32", "shape": [2], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
    }
    for camera in CAMERAS if size else ():
        width, height = size or SIZE
        features[camera] = {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
        }
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        kind = "float32" if name == "timestamp" else "int64"
        features[name] = {"dtype": kind, "shape": [1], "names": None}
    old = version.startswith("v2")
    file = "episode_{episode_index:06d}" if old else "file-{file_index:03d}"
    chunk = "chunk-{episode_chunk:03d}" if old else "chunk-{chunk_index:03d}"
    video = f"{chunk}/{{video_key}}" if old else f"{{video_key}}/{chunk}"
    info = {
        "codebase_version": version,
        "robot_type": "so101_follower",
        "total_episodes": len(rows),
        "total_frames": total,
        "total_tasks": 1,
        "chunks_size": 1000,
        "fps": FPS,
        "splits": {"train": f"0:{len(rows)}"},
        "data_path": f"data/{chunk}/{file}.parquet",
        "video_path": f"videos/{video}/{file}.mp4",
        "features": features,
    }
    (folder / "meta/info.json").write_text(json.dumps(info))
    if old:
        kept = ("episode_index", "tasks", "length")
        lines = [json.dumps({name: row[name] for name in kept}) for row in rows]
        (folder / "meta/episodes.jsonl").write_text("\n".join(lines))
        task = json.dumps({"task_index": 0, "task": TASK})
        (folder / "meta/tasks.jsonl").write_text(task + "\n")
        return
    path = _place(folder, "meta/episodes", 0, old=False, suffix="parquet")
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    tasks = pa.table({"task_index": [0], task_column: [TASK]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")


def decode(raw: bytes) -> np.ndarray:
    """Returns the pixels u8 [h w 3] of an encoded picture."""
    with Image.open(io.BytesIO(raw)) as image:
        return np.asarray(image.convert("RGB"))
