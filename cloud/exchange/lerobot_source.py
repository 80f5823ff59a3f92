"""Reads LeRobot datasets: version 3, and version 2, whose episodes have own files."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import av
import numpy as np
import pyarrow as pa

from cloud.errors import BadEpisodeError, SourceError
from cloud.exchange import features, lerobot_layout, pictures
from cloud.exchange.features import Feature, Names
from cloud.exchange.lerobot_layout import Entry
from cloud.exchange.recorded import (
    Choice,
    RecordedEpisode,
    SourceFacts,
    Unreadable,
    Values,
    bad,
    decode_text,
)
from cloud.exchange.video_frames import VideoFrames
from rlds.spec import picture_field

_NAMES = Names(states=("observation.state",), observed="observation.", action="action")
_REWARD, _SUCCESS, _DONE = "next.reward", "next.success", "next.done"
_PROPOSED = "proposed_action"
_ON_THE_GRID_S = 1e-4
"""How far a time may be from frame / fps: LeRobot's own tolerance."""


@dataclasses.dataclass(frozen=True)
class _Frames:
    """The frames of one data file, in the order of episodes."""

    path: pathlib.PurePosixPath
    table: pa.Table
    episodes: np.ndarray

    def of(self, index: int) -> pa.Table:
        """Returns the frames of one episode, in the order of the file."""
        first, after = np.searchsorted(self.episodes, [index, index + 1])
        return self.table.slice(int(first), int(after - first))


class LerobotSource:
    """A folder with a `meta/info.json` of LeRobot."""

    def __init__(self, folder: pathlib.Path, choice: Choice) -> None:
        """Reads the description and the list of episodes; no frame.

        Raises:
            SourceError: a file of the description is missing or damaged, or what
                becomes state or action is not there.
        """
        self._folder = folder
        self._choice = choice
        self._layout = lerobot_layout.open_layout(folder)
        self._features = {
            name: _classify(one) for name, one in self._layout.features.items()
        }
        own = lerobot_layout.OWN_FEATURES
        chosen = {n: one for n, one in self._features.items() if n not in own}
        self._taken = features.choose(chosen, choice, _NAMES, str(folder))
        self._videos = tuple(
            name for name in self._taken.cameras if self._dtype(name) == "video"
        )
        self._entries = self._layout.read_entries(self._videos)
        self._tasks = self._layout.read_tasks() if choice.reads_task else {}
        self._facts = self._state_facts()
        self._frames: _Frames | None = None
        self._opened: dict[str, tuple[pathlib.PurePosixPath, VideoFrames]] = {}

    @property
    def facts(self) -> SourceFacts:
        """What the dataset says of itself."""
        return self._facts

    def read(self) -> Iterator[RecordedEpisode | Unreadable]:
        """Yields every episode; see `recorded.Source`."""
        try:
            for entry in self._entries:
                split = self._split(entry.index)
                name = f"{entry.index}"
                try:
                    yield self._read_one(name, split, entry)
                except BadEpisodeError as e:
                    yield Unreadable(name, split, entry.index, e)
        finally:
            for camera in list(self._opened):
                self._close_video(camera)

    def _read_one(self, name: str, split: str, entry: Entry) -> RecordedEpisode:
        table = self._load(name, entry)
        count = table.num_rows
        if not count:
            raise bad(name, "steps", "at least one step", "none")
        if entry.length is not None and entry.length != count:
            raise bad(name, "length", f"{entry.length} frames as the list says", count)
        order = _column(table, "frame_index", name).reshape(-1)
        if not np.array_equal(order, np.arange(count)):
            raise bad(name, "frame_index", f"0 to {count - 1} in order", "others")
        steps: dict[str, Values | Sequence[np.ndarray]] = {
            "observation/state": [
                _column(table, one, name) for one in self._taken.state
            ],
            "action": [_column(table, one, name) for one in self._taken.action],
        }
        if _PROPOSED in self._features:
            steps[_PROPOSED] = _column(table, _PROPOSED, name)
        if _REWARD in self._features:
            steps["reward"] = _column(table, _REWARD, name)
        success = entry.success
        if _SUCCESS in self._features:
            flags = _column(table, _SUCCESS, name).reshape(-1).astype(np.bool_)
            success = bool(flags.any())
            steps["is_terminal"] = np.arange(count) == (count - 1 if flags[-1] else -1)
        times_s = self._times_s(table, name)
        steps["t_monotonic_ns"] = np.round(times_s * 1e9)
        for camera, ours in self._taken.cameras.items():
            steps[picture_field(ours)] = self._read_pictures(
                camera, name, entry, table, times_s
            )
        notes: list[tuple[str, str]] = []
        task = self._task(name, entry, table, notes)
        return RecordedEpisode(
            name, split, entry.index, steps, task, success, notes=notes
        )

    def _load(self, name: str, entry: Entry) -> pa.Table:
        """Returns the frames of an episode; the file it is in is read once."""
        if self._frames is None or self._frames.path != entry.data:
            self._frames = None
            try:
                self._frames = _read_frames(self._folder, entry.data, self._columns())
            except SourceError as e:
                raise bad(name, str(entry.data), e.expected, e.got) from e
        return self._frames.of(entry.index)

    def _columns(self) -> list[str]:
        wanted = [*self._taken.state, *self._taken.action]
        wanted += ["episode_index", "frame_index", "timestamp", "task_index"]
        wanted += [n for n in (_PROPOSED, _REWARD, _SUCCESS) if n in self._features]
        wanted += [n for n in self._taken.cameras if n not in self._videos]
        return wanted

    def _times_s(self, table: pa.Table, name: str) -> np.ndarray:
        """Returns the time of each frame, f64 [t], exact where it is on the grid."""
        said = _column(table, "timestamp", name).reshape(-1).astype(np.float64)
        grid = np.arange(len(said)) / self._layout.fps
        if (np.abs(said - grid) <= _ON_THE_GRID_S).all():
            return grid
        return said

    def _read_pictures(
        self,
        camera: str,
        name: str,
        entry: Entry,
        table: pa.Table,
        times_s: np.ndarray,
    ) -> tuple[bytes, ...]:
        if camera not in self._videos:
            encoded = _read_encoded(table, camera, name, self._folder)
            return pictures.encode_all(encoded, self._choice.image_size, name, camera)
        clip = entry.clips[camera]
        video = self._open_video(clip.path, name, camera)
        wanted = (clip.from_s + times_s).tolist()
        tolerance_s = 0.5 / self._layout.fps
        return pictures.encode_pixels(video.read(wanted, tolerance_s, name, camera))

    def _open_video(
        self, path: pathlib.PurePosixPath, name: str, camera: str
    ) -> VideoFrames:
        if camera in self._opened and self._opened[camera][0] == path:
            return self._opened[camera][1]
        self._close_video(camera)
        try:
            opened = VideoFrames(self._folder / path, self._choice.image_size)
        except (OSError, av.FFmpegError) as e:
            raise bad(name, camera, f"a video at {path}", e) from e
        self._opened[camera] = (path, opened)
        return opened

    def _close_video(self, camera: str) -> None:
        if camera in self._opened:
            self._opened.pop(camera)[1].close()

    def _task(
        self,
        name: str,
        entry: Entry,
        table: pa.Table,
        notes: list[tuple[str, str]],
    ) -> str | None:
        if not self._choice.reads_task:
            return None
        numbers = _column(table, "task_index", name).reshape(-1)
        different = list(dict.fromkeys(int(one) for one in numbers))
        if len(different) > 1:
            notes.append(
                (
                    "task",
                    f"{len(different)} tasks in one episode, the first is its task",
                )
            )
        said = self._tasks.get(different[0])
        if said is None:
            raise bad(name, "task_index", "a task of the list of tasks", different[0])
        return decode_text(said, name, "task")

    def _split(self, index: int) -> str:
        for split, (first, after) in self._layout.splits.items():
            if first <= index < after:
                return split
        return "train"

    def _dtype(self, name: str) -> str:
        return str(self._layout.features[name].get("dtype"))

    def _state_facts(self) -> SourceFacts:
        counts: dict[str, int] = {}
        for entry in self._entries:
            split = self._split(entry.index)
            counts[split] = counts.get(split, 0) + 1
        files = dict.fromkeys(self._layout.list_metadata())
        for entry in self._entries:
            files[entry.data] = None
            files.update({clip.path: None for clip in entry.clips.values()})
        info = self._layout.info
        said = {"version": self._layout.version, "licence": info.get("license")}
        return SourceFacts(
            format=f"LeRobot {self._layout.version}",
            name=self._folder.name,
            splits=counts,
            control_hz=self._layout.fps,
            robot_model=self._layout.robot_type,
            taken=self._list_taken(),
            left_behind=self._explain(),
            renamed=self._taken.renamed,
            described={key: str(text) for key, text in said.items() if text},
            files=tuple(files),
        )

    def _list_taken(self) -> dict[str, tuple[str, ...]]:
        taken = {
            "observation/state": self._taken.state,
            "action": self._taken.action,
            "t_monotonic_ns": ("timestamp",),
        }
        for camera, ours in self._taken.cameras.items():
            taken[picture_field(ours)] = (camera,)
        if self._choice.reads_task:
            taken["task"] = ("task_index",)
        for field, name in (
            (_PROPOSED, _PROPOSED),
            ("reward", _REWARD),
            ("success", _SUCCESS),
        ):
            if name in self._features:
                taken[field] = (name,)
        return taken

    def _explain(self) -> dict[str, str]:
        known = dict.fromkeys(
            (*lerobot_layout.OWN_FEATURES, _PROPOSED, _REWARD, _SUCCESS), ""
        )
        known[_DONE] = "says where an episode ends, which the last step says"
        if not self._choice.reads_task:
            known["task_index"] = "--task names the task of all episodes"
        return features.explain(self._features, self._taken, known)


def _classify(one: Mapping[str, Any]) -> Feature:
    dtype, shape = str(one.get("dtype")), one["shape"]
    doc = f"{dtype} {shape}"
    if dtype in ("video", "image"):
        return Feature("depth" if _is_depth(one) else "picture", None, doc)
    if dtype.startswith(("float", "int", "uint", "bool")):
        return Feature("number", int(np.prod([int(k) for k in shape])), doc)
    return Feature("text" if dtype == "string" else dtype, None, doc)


def _is_depth(one: Mapping[str, Any]) -> bool:
    said = [one.get("info"), one.get("video_info")]
    return any(
        bool(part.get("is_depth_map") or part.get("video.is_depth_map"))
        for part in said
        if isinstance(part, dict)
    )


def _read_frames(
    folder: pathlib.Path, path: pathlib.PurePosixPath, columns: list[str]
) -> _Frames:
    import pyarrow.parquet as pq

    whole = folder / path
    try:
        names = pq.read_schema(whole).names
    except (OSError, pa.ArrowException) as e:
        raise SourceError(whole, "a Parquet file", e) from e
    present = [name for name in columns if name in names]
    table = lerobot_layout.read_table(whole, present)
    if "episode_index" not in present:
        raise SourceError(whole, "a column episode_index", names)
    episodes = table.column("episode_index").to_numpy().astype(np.int64)
    if (np.diff(episodes) < 0).any():
        order = np.argsort(episodes, kind="stable")
        table, episodes = table.take(pa.array(order)), episodes[order]
    return _Frames(path, table, episodes)


def _column(table: pa.Table, name: str, episode: str) -> np.ndarray:
    """Returns a column as an array [T, ...].

    Raises:
        BadEpisodeError: it is not there, has no value in a frame, or values of
            different lengths.
    """
    if name not in table.column_names:
        raise bad(episode, name, "a column of this name", "none")
    array: Any = table.column(name).combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else array.chunk(0)
    shape = [len(array)]
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if array.null_count:
            step = int(
                np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0]
            )
            raise bad(episode, name, "a value in each frame", f"none, value {step}")
        if not pa.types.is_nested(array.type):
            break
        inner = array.flatten()
        if len(array) and len(inner) % len(array):
            raise bad(episode, name, "as many numbers in each frame", "other numbers")
        if not pa.types.is_fixed_size_list(array.type):
            lengths = array.value_lengths().to_numpy(zero_copy_only=False)
            if len(set(lengths.tolist())) > 1:
                found = sorted(set(lengths.tolist()))
                raise bad(episode, name, "as many numbers in each frame", found)
        shape.append(len(inner) // max(1, len(array)))
        array = inner
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values.reshape([table.num_rows, -1]) if len(shape) > 1 else values


def _read_encoded(
    table: pa.Table, camera: str, episode: str, folder: pathlib.Path
) -> list[bytes]:
    """Returns the encoded pictures of a column, or of the files that it names."""
    if camera not in table.column_names:
        raise bad(episode, camera, "a column of this name", "none")
    found = []
    for step, cell in enumerate(table.column(camera).to_pylist()):
        content = cell.get("bytes") if isinstance(cell, dict) else None
        if content is None and isinstance(cell, dict) and cell.get("path"):
            path = pathlib.PurePosixPath(str(cell["path"]))
            if not path.is_absolute() and ".." not in path.parts:
                try:
                    content = (folder / path).read_bytes()
                except OSError:
                    content = None
        if not content:
            raise bad(
                episode, camera, "a picture in each frame", f"none at step {step}"
            )
        found.append(content)
    return found
