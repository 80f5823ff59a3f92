"""Writes episodes as a LeRobot dataset of version 3: Parquet, MP4 and descriptions.

Names and layout are those of `lerobot_layout`. Frames are on the grid of one rate, as
LeRobot demands, so the times of the steps are left behind where they were not. Each
camera has videos of its own. The same episodes give the same bytes.
"""

from __future__ import annotations

import fractions
import io
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from base import durable_file
from cloud.curate import feature_statistics
from cloud.curate.feature_statistics import Moments
from cloud.exchange import lerobot_layout
from rlds.episode import Episode
from rlds.spec import EpisodeSpec

UNNAMED = "image"
"""LeRobot's name of a camera that has none here; read again, it has none."""
_PICTURE = "observation/image"
_CHUNK = 1000  # files
_DATA_MB, _VIDEO_MB = 100, 200
_MB = 1024 * 1024
_CODEC = "libx264"
_GROUP = 2
"""Frames between two that need no other: LeRobot reads single ones at random."""
_CRF = 18
_SUCCESS = {True: 1, False: 0, None: -1}
_STATISTICS = {
    "observation.state": "observation/state",
    "action": "action",
    "proposed_action": "proposed_action",
}


class LerobotWriter:
    """Takes episodes one after the other; `finish` writes what describes them."""

    def __init__(
        self,
        folder: pathlib.Path,
        spec: EpisodeSpec,
        fps: float,
        robot_model: str,
        all_known: bool,
    ) -> None:
        """Begins a dataset in an empty folder.

        Args:
            folder: where it is written.
            spec: sizes of the episodes.
            fps: frames per second; a whole number is written as one.
            robot_model: make of the robot.
            all_known: whether every episode says whether it succeeded.
        """
        self._folder = folder
        self._spec = spec
        self._fps: float = int(fps) if float(fps).is_integer() else fps
        self._robot_model = robot_model
        self._all_known = all_known
        self._tasks: dict[str, int] = {}
        self._rows: list[dict[str, Any]] = []
        self._moments: dict[str, list[Moments]] = {name: [] for name in _STATISTICS}
        self._cameras = [
            _Camera(field.name, folder)
            for field in spec.step_fields()
            if field.dtype == "jpeg"
        ]
        self._splits: dict[str, list[int]] = {}
        self._frames = 0
        self._data: _Numbered | None = None
        self._writer: pq.ParquetWriter | None = None

    def add(self, episode: Episode, split: str) -> None:
        """Adds one episode; those of a split follow each other.

        Raises:
            OSError, av.FFmpegError: a file cannot be written.
        """
        index, count = len(self._rows), episode.num_steps
        task = episode.metadata.task
        number = self._tasks.setdefault(task, len(self._tasks))
        row: dict[str, Any] = {
            "episode_index": index,
            "tasks": [task],
            "length": count,
            "dataset_from_index": self._frames,
            "dataset_to_index": self._frames + count,
            "success": _SUCCESS[episode.metadata.success],
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        place = self._write_frames(episode, index, number)
        row |= {"data/chunk_index": place[0], "data/file_index": place[1]}
        for camera in self._cameras:
            row |= camera.write(episode, self._fps)
        for name, field in _STATISTICS.items():
            self._moments[name].append(feature_statistics.measure(episode.steps[field]))
        self._rows.append(row)
        self._frames += count
        self._splits.setdefault(split, []).append(index)

    def finish(self) -> None:
        """Writes the list of episodes, the tasks, statistics and the description."""
        if self._writer is not None:
            self._writer.close()
        for camera in self._cameras:
            camera.close()
        (self._folder / "meta").mkdir(parents=True)
        path = _make_path(self._folder, lerobot_layout.EPISODES_PATH, 0)
        pq.write_table(pa.Table.from_pylist(self._rows), path)
        self._write_tasks()
        self._write_json(lerobot_layout.STATS_FILE, self._statistics())
        self._write_json(lerobot_layout.INFO_FILE, self._info())

    def _write_frames(self, episode: Episode, index: int, task: int) -> tuple[int, int]:
        """Appends one row group; returns chunk and file."""
        count, steps = episode.num_steps, episode.steps
        frame = np.arange(count)
        columns: dict[str, pa.Array] = {
            "observation.state": _vectors(steps["observation/state"]),
            "action": _vectors(steps["action"]),
            "proposed_action": _vectors(steps["proposed_action"]),
            "next.reward": pa.array(steps["reward"]),
            "next.done": pa.array(steps["is_last"]),
        }
        if self._all_known:
            success = steps["is_last"] & bool(episode.metadata.success)
            columns["next.success"] = pa.array(success)
        columns |= {
            "timestamp": pa.array((frame / self._fps).astype(np.float32)),
            "frame_index": pa.array(frame),
            "episode_index": pa.array(np.full(count, index)),
            "index": pa.array(self._frames + frame),
            "task_index": pa.array(np.full(count, task)),
        }
        table = pa.table(columns)
        if self._data is not None and self._data.size_bytes > _DATA_MB * _MB:
            assert self._writer is not None, "a file is open"
            self._writer.close()
            self._writer = None
        if self._writer is None:
            number = 0 if self._data is None else self._data.number + 1
            path = _make_path(self._folder, lerobot_layout.DATA_PATH, number)
            self._data = _Numbered(number)
            self._writer = pq.ParquetWriter(path, table.schema)
        assert self._data is not None, "a file is open"
        self._writer.write_table(table)
        self._data.size_bytes += table.nbytes
        return divmod(self._data.number, _CHUNK)

    def _write_tasks(self) -> None:
        """Writes the tasks as pandas does: their text is the index of the table."""
        table = pa.table(
            {
                "task_index": pa.array(list(self._tasks.values()), pa.int64()),
                "task": pa.array(list(self._tasks), pa.string()),
            }
        )
        described = {
            "index_columns": ["task"],
            "column_indexes": [],
            "columns": [
                _pandas_column("task_index", "int64", "int64"),
                _pandas_column("task", "unicode", "object"),
            ],
            "pandas_version": "2.0.0",
        }
        metadata = {"pandas": json.dumps(described)}
        pq.write_table(
            table.replace_schema_metadata(metadata),
            self._folder / lerobot_layout.TASKS_FILE,
        )

    def _statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, moments in self._moments.items():
            merged = feature_statistics.describe(feature_statistics.merge(moments))
            found[name] = {
                "min": list(merged.min),
                "max": list(merged.max),
                "mean": list(merged.mean),
                "std": list(merged.std),
                "count": [merged.count],
            }
        for camera in self._cameras:
            found[camera.key] = camera.statistics()
        return found

    def _info(self) -> dict[str, Any]:
        features: dict[str, Any] = {
            "observation.state": _feature("float32", self._spec.state_size),
            "action": _feature("float32", self._spec.action_size),
            "proposed_action": _feature("float32", self._spec.action_size),
            "next.reward": _feature("float32", 1),
            "next.done": _feature("bool", 1),
        }
        if self._all_known:
            features["next.success"] = _feature("bool", 1)
        for camera in self._cameras:
            features[camera.key] = camera.feature(self._fps)
        features["timestamp"] = _feature("float32", 1)
        for name in ("frame_index", "episode_index", "index", "task_index"):
            features[name] = _feature("int64", 1)
        return {
            "codebase_version": lerobot_layout.VERSION,
            "robot_type": self._robot_model,
            "total_episodes": len(self._rows),
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            "chunks_size": _CHUNK,
            "data_files_size_in_mb": _DATA_MB,
            "video_files_size_in_mb": _VIDEO_MB,
            "fps": self._fps,
            "splits": {
                split: f"{members[0]}:{members[-1] + 1}"
                for split, members in self._splits.items()
            },
            "data_path": lerobot_layout.DATA_PATH,
            "video_path": lerobot_layout.VIDEO_PATH if self._cameras else None,
            "features": features,
        }

    def _write_json(self, name: str, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, indent=4, ensure_ascii=False)
        durable_file.write(self._folder / name, text.encode())


class _Numbered:
    """A data file that is being written."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.size_bytes = 0


class _Camera:
    """The videos of one camera.

    Attributes:
        key: LeRobot's name of it.
    """

    def __init__(self, field: str, folder: pathlib.Path) -> None:
        name = field.removeprefix(_PICTURE).removeprefix("_") or UNNAMED
        self.key = f"observation.images.{name}"
        self._field = field
        self._folder = folder
        self._video: _Video | None = None
        self._number = 0
        self._size: tuple[int, int] | None = None
        self._pixels: list[np.ndarray] = []

    def write(self, episode: Episode, fps: float) -> dict[str, Any]:
        """Appends the pictures of an episode; returns where they are."""
        if self._video is not None and self._video.size_bytes > _VIDEO_MB * _MB:
            self.close()
            self._video, self._number = None, self._number + 1
        images = episode.steps[self._field]
        if self._size is None:
            self._size = _decode(images[0], None).size
        if self._video is None:
            template = lerobot_layout.VIDEO_PATH
            path = _make_path(self._folder, template, self._number, self.key)
            self._video = _Video(path, fps, self._size)
        begin = self._video.frames
        for step, image in enumerate(images):
            frame = _decode(image, self._size)
            self._video.add(frame)
            if step == 0:  # enough for a normalisation
                self._pixels.append(np.asarray(frame, np.float64) / 255.0)
        chunk, number = divmod(self._number, _CHUNK)
        return {
            f"videos/{self.key}/chunk_index": chunk,
            f"videos/{self.key}/file_index": number,
            f"videos/{self.key}/from_timestamp": begin / fps,
            f"videos/{self.key}/to_timestamp": self._video.frames / fps,
        }

    def close(self) -> None:
        """Ends the file that is being written, if there is one."""
        if self._video is not None:
            self._video.close()

    def statistics(self) -> dict[str, Any]:
        """Returns them of the first picture of each episode, by channel, 0 to 1."""
        flat = np.concatenate([one.reshape(-1, 3) for one in self._pixels])
        found = {
            key: value.reshape(3, 1, 1).tolist()
            for key, value in (
                ("min", flat.min(axis=0)),
                ("max", flat.max(axis=0)),
                ("mean", flat.mean(axis=0)),
                ("std", flat.std(axis=0)),
            )
        }
        return {**found, "count": [len(self._pixels)]}

    def feature(self, fps: float) -> dict[str, Any]:
        """Returns the description of the camera."""
        assert self._size is not None, "there is an episode"
        width, height = self._size
        return {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": _pixel_format(self._size),
                "video.is_depth_map": False,
                "video.fps": fps,
                "video.channels": 3,
                "has_audio": False,
            },
        }


class _Video:
    """One MP4 file that is being written."""

    def __init__(self, path: pathlib.Path, fps: float, size: tuple[int, int]) -> None:
        # Without versions of libraries, so that equal pictures are equal bytes.
        flags = {"fflags": "+bitexact"}
        self._container = av.open(str(path), "w", format="mp4", options=flags)
        rate = fractions.Fraction(fps).limit_denominator(1_000_000)
        self._period = 1 / rate
        # One thread: how many a machine has would decide on the bytes.
        options = {
            "crf": f"{_CRF}",
            "g": f"{_GROUP}",
            "threads": "1",
            "flags": "+bitexact",
        }
        stream = self._container.add_stream(_CODEC, rate=rate, options=options)
        stream.width, stream.height = size
        stream.pix_fmt = _pixel_format(size)
        stream.thread_count = 1
        self._stream = stream
        self.frames = 0
        self.size_bytes = 0

    def add(self, picture: Image.Image) -> None:
        frame = av.VideoFrame.from_ndarray(np.asarray(picture), format="rgb24")
        frame.pts = self.frames
        frame.time_base = self._period
        self._mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        self._mux(self._stream.encode(None))
        self._container.close()

    def _mux(self, packets: Sequence[Any]) -> None:
        for packet in packets:
            self.size_bytes += packet.size
            self._container.mux(packet)


def _make_path(
    folder: pathlib.Path, template: str, number: int, key: str = ""
) -> pathlib.Path:
    """Returns the path of a numbered file, whose folder is there."""
    chunk, file = divmod(number, _CHUNK)
    path = folder / template.format(chunk_index=chunk, file_index=file, video_key=key)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _pixel_format(size: tuple[int, int]) -> str:
    """Returns the format: one that halves the colours needs even sizes."""
    return "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"


def _decode(raw: bytes, size: tuple[int, int] | None) -> Image.Image:
    """Returns a picture; black where none was taken."""
    if not raw:
        return Image.new("RGB", size or (2, 2))
    with Image.open(io.BytesIO(raw)) as image:
        colour = image.convert("RGB")
    return colour if size in (None, colour.size) else colour.resize(size)


def _vectors(values: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _feature(dtype: str, size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [size], "names": None}


def _pandas_column(name: str, kind: str, numpy_type: str) -> dict[str, Any]:
    return {
        "name": name,
        "field_name": name,
        "pandas_type": kind,
        "numpy_type": numpy_type,
        "metadata": None,
    }
