"""The files of a LeRobot dataset, versions 2 and 3, as its `meta/info.json` names them.

Source of the names: huggingface/lerobot, `src/lerobot/datasets/utils.py`,
`dataset_metadata.py` and `io_utils.py` (CODEBASE_VERSION v3.0, and v2.1 for the older
form). Paths come from the dataset, so they are kept inside its folder.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cloud.errors import SourceError

INFO_FILE = "meta/info.json"
STATS_FILE = "meta/stats.json"
TASKS_FILE = "meta/tasks.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VERSION = "v3.0"
# What every frame has besides the robot's own.
OWN_FEATURES = ("timestamp", "frame_index", "episode_index", "index", "task_index")

_OLD_EPISODES, _OLD_TASKS = "meta/episodes.jsonl", "meta/tasks.jsonl"
_FIELD = re.compile(r"\{(\w+)(?::0?(\d+)d)?\}")
_LIMIT_BYTES = 256 * 1024 * 1024
# pandas names an index without a name so.
_TASK_COLUMNS = ("task", "__index_level_0__")


@dataclasses.dataclass(frozen=True)
class Clip:
    """Where the pictures of an episode are: a file, and when they begin there, in s."""

    path: pathlib.PurePosixPath
    from_s: float


@dataclasses.dataclass(frozen=True)
class Entry:
    """One episode in the dataset's own list.

    Attributes:
        index: its number.
        length: number of frames; None if the list does not say.
        data: the file that its frames are in, relative to the folder.
        clips: its part of a video, by the name of the camera.
        tasks: what the list says that the robot was asked to do.
        success: whether it succeeded, where the list says it.
    """

    index: int
    length: int | None
    data: pathlib.PurePosixPath
    clips: Mapping[str, Clip]
    tasks: tuple[str, ...]
    success: bool | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """A dataset's description of itself.

    Attributes:
        folder: the dataset.
        version: such as `v3.0`.
        fps: frames per second.
        robot_type: make of the robot, or "".
        features: type, shape and more of each feature, by its name.
        splits: the first and the last number but one of each split.
    """

    folder: pathlib.Path
    version: str
    fps: float
    robot_type: str
    features: Mapping[str, Mapping[str, Any]]
    splits: Mapping[str, tuple[int, int]]
    info: Mapping[str, Any]

    @property
    def is_old(self) -> bool:
        """Whether each episode has files of its own."""
        return self.version.startswith("v2.")

    def read_tasks(self) -> dict[int, str | bytes]:
        """Returns the tasks by their number; a text that is not UTF-8 stays bytes.

        Raises:
            SourceError: the file is missing or damaged.
        """
        if self.is_old:
            lines = _read_lines(self.folder / _OLD_TASKS)
            return {int(one["task_index"]): str(one["task"]) for one in lines}
        path = self.folder / TASKS_FILE
        table = read_table(path)
        names = [name for name in _TASK_COLUMNS if name in table.column_names]
        if not names or "task_index" not in table.column_names:
            raise SourceError(
                path, "columns task and task_index", table.column_names, "mend it"
            )
        texts = table.column(names[0]).cast(pa.binary()).to_pylist()
        numbers = table.column("task_index").to_pylist()
        return dict(zip(map(int, numbers), map(_decode, texts), strict=True))

    def read_entries(self, cameras: tuple[str, ...]) -> list[Entry]:
        """Returns all episodes in order.

        Args:
            cameras: names of the videos whose files are wanted.

        Raises:
            SourceError: the list is missing or damaged, or lacks a column.
        """
        if self.is_old:
            lines = _read_lines(self.folder / _OLD_EPISODES)
            found = [self._old_entry(one, cameras) for one in lines]
        else:
            found = list(self._new_entries(cameras))
        return sorted(found, key=lambda entry: entry.index)

    def list_metadata(self) -> list[pathlib.PurePosixPath]:
        """Returns the files of the description, relative to the folder."""
        if self.is_old:
            return [
                pathlib.PurePosixPath(p) for p in (INFO_FILE, _OLD_EPISODES, _OLD_TASKS)
            ]
        episodes = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        found = [self.folder / INFO_FILE, self.folder / TASKS_FILE, *episodes]
        return [pathlib.PurePosixPath(path.relative_to(self.folder)) for path in found]

    def _old_entry(self, one: Mapping[str, Any], cameras: tuple[str, ...]) -> Entry:
        index = int(one["episode_index"])
        known = {
            "episode_chunk": index // int(self.info.get("chunks_size") or 1000),
            "episode_index": index,
        }
        clips = {
            name: Clip(self._path("video_path", {**known, "video_key": name}), 0.0)
            for name in cameras
        }
        tasks = tuple(str(task) for task in one.get("tasks") or ())
        length = one.get("length")
        data = self._path("data_path", known)
        return Entry(
            index, None if length is None else int(length), data, clips, tasks, None
        )

    def _new_entries(self, cameras: tuple[str, ...]) -> Iterator[Entry]:
        columns = ["episode_index", "length", "data/chunk_index", "data/file_index"]
        for name in cameras:
            columns += [
                f"videos/{name}/{part}"
                for part in ("chunk_index", "file_index", "from_timestamp")
            ]
        paths = sorted((self.folder / "meta/episodes").glob("*/*.parquet"))
        if not paths:
            raise SourceError(
                self.folder / "meta/episodes",
                "files of episodes",
                "none",
                "copy all files",
            )
        for path in paths:
            names = pq.read_schema(path).names
            absent = [name for name in columns if name not in names]
            if absent:
                raise SourceError(path, f"columns {absent}", f"{names[:40]}", "mend it")
            more = [name for name in ("tasks", "success") if name in names]
            for row in read_table(path, [*columns, *more]).to_pylist():
                yield self._new_entry(row, cameras)

    def _new_entry(self, row: Mapping[str, Any], cameras: tuple[str, ...]) -> Entry:
        def place(key: str, prefix: str, name: str = "") -> pathlib.PurePosixPath:
            known = {
                "chunk_index": int(row[f"{prefix}/chunk_index"]),
                "file_index": int(row[f"{prefix}/file_index"]),
                "video_key": name,
            }
            return self._path(key, known)

        clips = {
            name: Clip(
                place("video_path", f"videos/{name}", name),
                float(row[f"videos/{name}/from_timestamp"]),
            )
            for name in cameras
        }
        success = row.get("success")
        return Entry(
            int(row["episode_index"]),
            int(row["length"]),
            place("data_path", "data"),
            clips,
            tuple(str(task) for task in row.get("tasks") or ()),
            bool(success) if success in (0, 1) else None,
        )

    def _path(self, key: str, known: Mapping[str, object]) -> pathlib.PurePosixPath:
        """Fills a template of info.json in; the path stays inside the folder."""
        template = str(self.info.get(key) or "")

        def fill(match: re.Match[str]) -> str:
            value = known.get(match[1])
            if value is None:
                raise SourceError(
                    self.folder / INFO_FILE, f"{key} of {sorted(known)}", template
                )
            return str(value).zfill(int(match[2] or 0))

        path = pathlib.PurePosixPath(_FIELD.sub(fill, template))
        if not template or path.is_absolute() or ".." in path.parts:
            raise SourceError(
                self.folder / INFO_FILE, f"{key}: a path in this folder", template
            )
        return path


def open_layout(folder: pathlib.Path) -> Layout:
    """Reads `meta/info.json`.

    Raises:
        SourceError: it is missing, damaged, or of a version that is not known here.
    """
    path = folder / INFO_FILE
    info = _read_json(path)
    version = str(info.get("codebase_version", ""))
    if not version.startswith(("v2.", "v3.")):
        raise SourceError(
            path,
            "codebase_version v2.x or v3.x",
            version or "none",
            "convert the dataset with LeRobot",
        )
    fps, features = info.get("fps"), info.get("features")
    if not isinstance(fps, int | float) or isinstance(fps, bool) or not fps > 0:
        raise SourceError(path, "fps: frames per second", fps, "correct it")
    if not isinstance(features, dict) or not all(
        isinstance(one, dict) and isinstance(one.get("shape"), list)
        for one in features.values()
    ):
        raise SourceError(path, "features, each with a shape", features, "correct it")
    return Layout(
        folder,
        version,
        float(fps),
        str(info.get("robot_type") or ""),
        features,
        _read_splits(info),
        info,
    )


def read_table(path: pathlib.Path, columns: list[str] | None = None) -> pa.Table:
    """Reads a Parquet file, or some columns of it.

    Raises:
        SourceError: it is missing or damaged.
    """
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as e:
        raise SourceError(path, "a Parquet file", e, "copy the dataset again") from e


def _read_splits(info: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Returns `{"train": "0:50"}` as numbers; a split of another form is no split."""
    found = {}
    splits = info.get("splits")
    for name, text in splits.items() if isinstance(splits, dict) else ():
        match = re.fullmatch(r"(\d+):(\d+)", str(text))
        if match:
            found[str(name)] = (int(match[1]), int(match[2]))
    return found


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    try:
        with path.open("rb") as stream:
            value = json.loads(stream.read(_LIMIT_BYTES))
    except (OSError, ValueError) as e:
        raise SourceError(path, "the description of the dataset", e) from e
    if not isinstance(value, dict):
        raise SourceError(path, "an object", type(value).__name__, "correct it")
    return value


def _read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        with path.open("rb") as stream:
            found = [json.loads(line) for line in stream if line.strip()]
    except (OSError, ValueError) as e:
        raise SourceError(path, "one JSON object a line", e) from e
    return found


def _decode(text: bytes | None) -> str | bytes:
    try:
        return (text or b"").decode()
    except UnicodeDecodeError:
        return text or b""
