"""Reads RLDS datasets as TFDS keeps them: Open X-Embodiment's form, and ours.

TFDS itself says what is in the folder and decodes each record, so whatever its builders
write is read. Records are taken from their files one by one: one that is damaged, or
that lacks a feature, costs no other.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from base.errors import OversizedError
from cloud.errors import BadEpisodeError, SourceError
from cloud.exchange import features, pictures, quiet_tensorflow
from cloud.exchange.features import Feature, Names, Taken
from cloud.exchange.recorded import (
    Choice,
    RecordedEpisode,
    SourceFacts,
    Unreadable,
    bad,
    decode_text,
)
from rlds import tfrecord
from rlds.errors import CorruptRecordError
from rlds.spec import KNOWN_TAGS

FEATURES_FILE = "features.json"
_INFO_FILE = "dataset_info.json"
_NAMES = Names(
    states=("observation/state", "observation/proprio"),
    observed="observation/",
    action="action",
)
# Fields of a step that mean there what they mean here.
_SAME = (
    "proposed_action",
    "reward",
    "discount",
    "is_first",
    "is_last",
    "is_terminal",
    "t_monotonic_ns",
    "deadline_missed",
    "safety_violation",
)
_TASKS = (
    "steps/language_instruction",
    "steps/observation/natural_language_instruction",
    "language_instruction",
    "task",
)
_OUTCOMES = ("success", "episode_metadata/success")
_STATED = ("robot_model", "environment_id", "start_time", "operator")
_TAGS = "tags"
_LIMIT_BYTES = 2 * 1024**3 - 1
"""Largest record: what TensorFlow parses."""


@dataclasses.dataclass(frozen=True)
class _Layout:
    """The features that are read, by their path: `steps/action`, `task`."""

    taken: Taken
    same: tuple[str, ...]
    task: str | None
    outcome: str | None
    stated: tuple[str, ...]
    tags: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """Every feature that is read."""
        of_steps = (*self.taken.all, *self.same)
        own = (*self.stated, *filter(None, [self.task, self.outcome]))
        own += (_TAGS,) if self.tags else ()
        return tuple(dict.fromkeys([*(f"steps/{name}" for name in of_steps), *own]))


class TfdsSource:
    """A folder that `tfds.builder_from_directory` opens, with episodes in it."""

    def __init__(self, folder: pathlib.Path, choice: Choice) -> None:
        """Opens the folder; reads no episode.

        Raises:
            SourceError: TFDS does not open it, it holds no episodes, or what becomes
                state, action or time is not there.
        """
        self._folder = folder
        self._choice = choice
        self._builder = _open(folder)
        # In the order of names: protobuf gives another one in each process.
        self._found = dict(sorted(_flatten(self._builder.info.features)))
        if not any(name.startswith("steps/") for name in self._found):
            raise SourceError(
                folder,
                "episodes in the RLDS form, which have a dataset named `steps`",
                f"features {sorted(self._found)}",
            )
        self._layout = self._lay_out()
        self._facts = self._state_facts()

    @property
    def facts(self) -> SourceFacts:
        """What the folder says of itself."""
        return self._facts

    def read(self) -> Iterator[RecordedEpisode | Unreadable]:
        """Yields every episode; see `recorded.Source`."""
        parse = self._make_parser()
        for split, info in self._builder.info.splits.items():
            index = 0
            lengths = zip(info.filepaths, info.shard_lengths, strict=True)
            for path, count in lengths:
                for raw in _read_file(pathlib.Path(str(path)), count):
                    yield self._read_one(split, index, raw, parse)
                    index += 1

    def _read_one(
        self,
        split: str,
        index: int,
        raw: bytes | BadEpisodeError,
        parse: Callable[[bytes], Mapping[str, Any]],
    ) -> RecordedEpisode | Unreadable:
        name = f"{split} {index}"
        try:
            if isinstance(raw, BadEpisodeError):
                raise bad(name, "record", raw.expected, raw.got)
            values = _parse(name, raw, parse)
            return self._understand(name, split, index, values)
        except BadEpisodeError as e:
            return Unreadable(name, split, index, e)

    def _understand(
        self, name: str, split: str, index: int, values: Mapping[str, Any]
    ) -> RecordedEpisode:
        layout, notes = self._layout, list[tuple[str, str]]()
        _require_equal_lengths(name, values)

        def step(feature: str) -> np.ndarray:
            return np.asarray(values[f"steps/{feature}"])

        steps: dict[str, Any] = {field: step(field) for field in layout.same}
        steps["observation/state"] = [step(one) for one in layout.taken.state]
        steps["action"] = [step(one) for one in layout.taken.action]
        if layout.taken.camera is not None:
            encoded = [bytes(one) for one in step(layout.taken.camera)]
            steps["observation/image"] = pictures.encode_all(
                encoded, self._choice.image_size, name, "observation/image"
            )
        for field in ("is_first", "is_last"):
            if field not in layout.same:
                notes.append((field, "not in the source, set as RLDS defines it"))
        return RecordedEpisode(
            name,
            split,
            index,
            steps,
            self._task(name, values, notes),
            _read_outcome(layout.outcome, values),
            {field: decode_text(values[field], name, field) for field in layout.stated},
            tags=self._tags(name, values),
            notes=notes,
        )

    def _tags(self, name: str, values: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns the tags that mean here what they mean there; no other ones."""
        if not self._layout.tags:
            return ()
        said = np.asarray(values[_TAGS]).reshape(-1).tolist()
        tags = [decode_text(one, name, _TAGS) for one in said]
        return tuple(tag for tag in tags if tag in KNOWN_TAGS)

    def _task(
        self, name: str, values: Mapping[str, Any], notes: list[tuple[str, str]]
    ) -> str | None:
        path = self._layout.task
        if path is None:
            return None
        field = path.removeprefix("steps/")
        said = np.asarray(values[path]).reshape(-1).tolist()
        different = list(dict.fromkeys(said))
        if len(different) > 1:
            notes.append(
                (field, f"{len(different)} texts in one episode, the first is its task")
            )
        return decode_text(different[0], name, field) if different else None

    def _lay_out(self) -> _Layout:
        steps = {
            name.removeprefix("steps/"): feature
            for name, feature in self._found.items()
            if name.startswith("steps/")
        }
        task = next((one for one in _TASKS if one in self._found), None)
        return _Layout(
            features.choose(steps, self._choice, _NAMES, str(self._folder)),
            tuple(name for name in _SAME if name in steps),
            task if self._choice.reads_task else None,
            next((one for one in _OUTCOMES if one in self._found), None),
            tuple(name for name in _STATED if self._kind(name) == "text"),
            self._kind(_TAGS) == "texts",
        )

    def _kind(self, path: str) -> str:
        return self._found[path].kind if path in self._found else ""

    def _state_facts(self) -> SourceFacts:
        info, layout = self._builder.info, self._layout
        has_times = "t_monotonic_ns" in layout.same
        if not has_times and self._choice.control_hz is None:
            raise SourceError(
                "--control_hz",
                f"the control steps per second of {info.name}, which RLDS does not say",
                "none",
                "find the rate in the dataset's description, and name it",
            )
        return SourceFacts(
            format="RLDS",
            name=str(info.name),
            splits={name: int(s.num_examples) for name, s in info.splits.items()},
            control_hz=self._choice.control_hz,
            robot_model="",
            taken=_list_taken(layout),
            left_behind=self._explain(),
            described=_describe(info),
            files=self._list_files(),
        )

    def _explain(self) -> dict[str, str]:
        layout = self._layout
        steps = {
            name.removeprefix("steps/"): feature
            for name, feature in self._found.items()
            if name.startswith("steps/")
        }
        known = dict.fromkeys(layout.same, "")
        if layout.task is not None:
            known[layout.task.removeprefix("steps/")] = ""
        found = features.explain(steps, layout.taken, known)
        for name, feature in self._found.items():
            if not name.startswith("steps/") and name not in layout.paths:
                found[name] = f"episodes have no field for it ({feature.doc})"
        return found

    def _list_files(self) -> tuple[pathlib.PurePosixPath, ...]:
        folder = pathlib.Path(str(self._builder.data_dir))
        shards = [
            pathlib.Path(str(path)).relative_to(folder)
            for info in self._builder.info.splits.values()
            for path in info.filepaths
        ]
        own = [pathlib.Path(_INFO_FILE), pathlib.Path(FEATURES_FILE)]
        prefix = folder.relative_to(self._folder)
        return tuple(pathlib.PurePosixPath(prefix / path) for path in [*own, *shards])

    def _make_parser(self) -> Callable[[bytes], Mapping[str, Any]]:
        """Returns a function from a record to the values of the features that are read.

        It is traced once; TFDS's own way takes four times as long for each record.
        """
        tf, _ = quiet_tensorflow.load()
        reduced = _reduce(self._builder.info.features, self._layout.paths)
        decoders = _skip_pictures(reduced)

        def decode(record: Any) -> Any:  # noqa: ANN401 - tensors
            return reduced.deserialize_example(record, decoders=decoders)

        signature = [tf.TensorSpec((), tf.string)]
        parse = tf.function(decode, input_signature=signature)
        return lambda record: dict(_flatten_values(parse(record)))


def _open(folder: pathlib.Path) -> Any:  # noqa: ANN401 - TFDS has no types
    """Opens the folder, or its one version folder, with TFDS."""
    _, tfds = quiet_tensorflow.load()
    place = find_version(folder)
    try:
        builder = tfds.builder_from_directory(str(place))
        kind = builder.info.file_format
        splits = dict(builder.info.splits)
    except Exception as e:
        raise SourceError(place, "a dataset that TFDS opens", e) from e
    if kind is None or kind.value != "tfrecord":
        got = "no format" if kind is None else kind.value
        raise SourceError(
            place,
            "episodes in TFRecord files",
            got,
            "write it again with file_format=tfrecord",
        )
    if not splits:
        raise SourceError(place, "episodes", "no split in dataset_info.json")
    return builder


def find_version(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder with the features: the given one, or the only one below.

    Raises:
        SourceError: there are several.
    """
    if (folder / FEATURES_FILE).is_file():
        return folder
    below = sorted(path.parent for path in folder.glob(f"*/{FEATURES_FILE}"))
    if len(below) == 1:
        return below[0]
    raise SourceError(
        folder,
        f"a folder with {FEATURES_FILE}",
        f"{len(below)} below it: {[path.name for path in below]}" if below else "none",
        "name one of them" if below else "name a folder of TFDS or of LeRobot",
    )


def _read_file(path: pathlib.Path, count: int) -> Iterator[bytes | BadEpisodeError]:
    """Yields `count` records of a file, or what is wrong with each.

    A record whose checksum is wrong costs no other; after a damaged length nothing in
    the file can be found.
    """
    read = 0
    try:
        with path.open("rb") as stream:
            while read < count:
                before = read
                try:
                    for record in tfrecord.read_stream(stream, path.name, _LIMIT_BYTES):
                        yield record
                        read += 1
                except (CorruptRecordError, OversizedError) as e:
                    yield BadEpisodeError(path.name, e.expected, e.got)
                    read += 1
                    if "of the record" not in e.expected:
                        break
                if read == before:
                    break
    except OSError as e:
        reason = e.strerror or type(e).__name__
        yield BadEpisodeError(path.name, "a readable file", reason)
        read += 1
    for _ in range(count - read):
        yield BadEpisodeError(path.name, f"{count} records in {path.name}", "its end")


def _parse(
    name: str, raw: bytes, parse: Callable[[bytes], Mapping[str, Any]]
) -> Mapping[str, Any]:
    tf, _ = quiet_tensorflow.load()
    try:
        return parse(raw)
    except (tf.errors.OpError, ValueError) as e:
        raise _explain_failure(name, str(e)) from e


def _require_equal_lengths(name: str, values: Mapping[str, Any]) -> None:
    """Refuses an episode of which a feature has no value, or not one in each step."""
    lengths = {
        path.removeprefix("steps/"): len(value)
        for path, value in values.items()
        if path.startswith("steps/")
    }
    most = max(lengths.values())
    if not most:
        raise bad(name, "steps", "at least one step", "none")
    for feature, length in sorted(lengths.items()):
        if length != most:
            raise bad(name, feature, f"a value in each of {most} steps", length)


def _explain_failure(name: str, text: str) -> BadEpisodeError:
    """Says in one line which feature of a record TensorFlow could not read."""
    field = text.partition("Key: ")[2].partition(".")[0].strip()
    field = field or text.partition("Feature: ")[2].partition(" ")[0].strip()
    if "required but could not be found" in text:
        return bad(name, field.removeprefix("steps/"), "a value", "none")
    last = text.strip().splitlines()[0] if text.strip() else "an error of TensorFlow"
    where = field.removeprefix("steps/") or "record"
    return bad(name, where, "values as features.json says", last)


def _read_outcome(path: str | None, values: Mapping[str, Any]) -> bool | None:
    """Returns the success; a number other than 0 and 1 means that it is unknown."""
    if path is None:
        return None
    said = np.asarray(values[path]).reshape(-1)
    if said.size != 1 or said.dtype.kind not in "biuf" or said[0] not in (0, 1):
        return None
    return bool(said[0])


def _list_taken(layout: _Layout) -> dict[str, tuple[str, ...]]:
    taken = {
        "observation/state": layout.taken.state,
        "action": layout.taken.action,
        **{name: (name,) for name in layout.same},
        **{name: (name,) for name in layout.stated},
    }
    if layout.tags:
        taken[_TAGS] = (_TAGS,)
    if layout.taken.camera is not None:
        taken["observation/image"] = (layout.taken.camera,)
    for field, path in (("task", layout.task), ("success", layout.outcome)):
        if path is not None:
            taken[field] = (path.removeprefix("steps/"),)
    return taken


def _describe(info: Any) -> dict[str, str]:  # noqa: ANN401 - TFDS has no types
    said = {
        "version": str(info.version or ""),
        "description": str(info.description or ""),
        "homepage": str(info.homepage or ""),
        "citation": str(info.citation or ""),
        "licence": str(getattr(info.redistribution_info, "license", "") or ""),
    }
    return {name: text for name, text in said.items() if text}


def _flatten(feature: Any, prefix: str = "") -> Iterator[tuple[str, Feature]]:  # noqa: ANN401
    """Yields every feature with its path."""
    _, tfds = quiet_tensorflow.load()
    if isinstance(feature, tfds.features.FeaturesDict):
        for name in feature:
            yield from _flatten(feature[name], f"{prefix}{name}/")
    elif _holds_steps(feature):
        yield from _flatten(feature.feature, prefix)
    else:
        yield prefix.removesuffix("/"), _classify(feature)


def _classify(feature: Any) -> Feature:  # noqa: ANN401 - TFDS has no types
    _, tfds = quiet_tensorflow.load()
    try:
        shape, dtype = tuple(feature.shape), feature.np_dtype
    except (AttributeError, NotImplementedError, TypeError, ValueError):  # nested
        return Feature("structure", None, type(feature).__name__)
    doc = f"{getattr(dtype, '__name__', dtype)} {list(shape)}"
    if isinstance(feature, tfds.features.Image):
        is_colour = len(shape) == 3 and shape[2] in (3, 1, 4)
        is_bytes = np.dtype(dtype) == np.uint8
        kind = "picture" if is_colour and is_bytes else "depth"
        return Feature(kind, None, doc)
    if isinstance(feature, tfds.features.Text) or np.dtype(dtype).kind in "OSU":
        return Feature("texts" if shape == (None,) else "text", None, doc)
    if isinstance(feature, tfds.features.Sequence) or type(feature).__name__ in (
        "Video",
        "Audio",
    ):
        return Feature("sequence", None, doc)
    if len(shape) == 3 and np.dtype(dtype) == np.uint8 and shape[2] == 3:
        return Feature("pixels", None, doc)
    size = None if None in shape else int(np.prod(shape, dtype=np.int64))
    return Feature("number", size, doc)


def _reduce(feature: Any, paths: tuple[str, ...]) -> Any:  # noqa: ANN401
    """Returns the features with only these paths, so that nothing else is decoded."""
    _, tfds = quiet_tensorflow.load()
    if _holds_steps(feature):
        # The same bytes, decoded as a whole and not step by step.
        return tfds.features.Sequence(_reduce(feature.feature, paths))
    if not isinstance(feature, tfds.features.FeaturesDict):
        return feature
    kept = {}
    for name in feature:
        inner = tuple(
            path.removeprefix(f"{name}/")
            for path in paths
            if path == name or path.startswith(f"{name}/")
        )
        if inner:
            kept[name] = _reduce(feature[name], inner)
    return tfds.features.FeaturesDict(kept)


def _holds_steps(feature: Any) -> bool:  # noqa: ANN401 - TFDS has no types
    """Whether a feature lists structures: a dataset does, and a sequence of old."""
    _, tfds = quiet_tensorflow.load()
    return isinstance(feature, tfds.features.Sequence) and isinstance(
        feature.feature, tfds.features.FeaturesDict
    )


def _skip_pictures(feature: Any) -> Any:  # noqa: ANN401 - TFDS has no types
    """Returns decoders that leave pictures as they are encoded."""
    _, tfds = quiet_tensorflow.load()
    if isinstance(feature, tfds.features.Image):
        return tfds.decode.SkipDecoding()
    if isinstance(feature, tfds.features.Sequence):
        return _skip_pictures(feature.feature)
    if isinstance(feature, tfds.features.FeaturesDict):
        found = {name: _skip_pictures(feature[name]) for name in feature}
        return {name: one for name, one in found.items() if one} or None
    return None


def _flatten_values(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:  # noqa: ANN401
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flatten_values(inner, f"{prefix}{name}/")
    else:
        yield prefix.removesuffix("/"), value.numpy()
