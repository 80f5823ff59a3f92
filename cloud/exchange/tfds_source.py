"""Reads RLDS datasets as TFDS keeps them: Open X-Embodiment's form, and ours.

TFDS itself says what is in the folder, so whatever its builders write is read. Records
are taken from their files one by one: one that is damaged, or that lacks a feature,
costs no other.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from cloud.errors import BadEpisodeError, SourceError
from cloud.exchange import features, pictures, tfds_folder, tfds_schema
from cloud.exchange.features import Names, Taken
from cloud.exchange.recorded import (
    Choice,
    RecordedEpisode,
    SourceFacts,
    Unreadable,
    bad,
    decode_text,
)
from cloud.exchange.tfds_records import RecordParser
from cloud.exchange.tfds_schema import STEPS
from rlds.spec import KNOWN_TAGS, age_field, picture_field

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
        self._builder = tfds_folder.open_builder(folder)
        leaves = tfds_schema.list_leaves(self._builder.info.features)
        # In the order of names: protobuf gives another one in each process.
        self._leaves = {one.path: one for one in sorted(leaves, key=lambda x: x.path)}
        self._found = {
            path: tfds_schema.classify(one.connector)
            for path, one in self._leaves.items()
        }
        if not any(name.startswith(STEPS) for name in self._found):
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
        parser = RecordParser(self._leaves[path] for path in self._layout.paths)
        for split, info in self._builder.info.splits.items():
            index = 0
            lengths = zip(info.filepaths, info.shard_lengths, strict=True)
            for path, count in lengths:
                for raw in tfds_folder.read_file(pathlib.Path(str(path)), count):
                    yield self._read_one(split, index, raw, parser)
                    index += 1

    def _read_one(
        self,
        split: str,
        index: int,
        raw: bytes | BadEpisodeError,
        parser: RecordParser,
    ) -> RecordedEpisode | Unreadable:
        name = f"{split} {index}"
        try:
            if isinstance(raw, BadEpisodeError):
                raise bad(name, "record", raw.expected, raw.got)
            return self._understand(name, split, index, parser.parse(name, raw))
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
        for camera, ours in layout.taken.cameras.items():
            encoded = [bytes(one) for one in step(camera)]
            steps[picture_field(ours)] = pictures.encode_all(
                encoded, self._choice.image_size, name, camera
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
            name.removeprefix(STEPS): feature
            for name, feature in self._found.items()
            if name.startswith(STEPS)
        }
        task = next((one for one in _TASKS if one in self._found), None)
        taken = features.choose(steps, self._choice, _NAMES, str(self._folder))
        ages = map(age_field, sorted(filter(None, taken.cameras.values())))
        return _Layout(
            taken,
            tuple(name for name in (*_SAME, *ages) if name in steps),
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
            renamed=layout.taken.renamed,
            described=tfds_folder.describe(info),
            files=tfds_folder.list_files(self._builder, self._folder),
        )

    def _explain(self) -> dict[str, str]:
        layout = self._layout
        steps = {
            name.removeprefix(STEPS): feature
            for name, feature in self._found.items()
            if name.startswith(STEPS)
        }
        known = dict.fromkeys(layout.same, "")
        if layout.task is not None:
            known[layout.task.removeprefix("steps/")] = ""
        found = features.explain(steps, layout.taken, known)
        for name, feature in self._found.items():
            if not name.startswith("steps/") and name not in layout.paths:
                found[name] = f"episodes have no field for it ({feature.doc})"
        return found


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
    for camera, ours in layout.taken.cameras.items():
        taken[picture_field(ours)] = (camera,)
    for field, path in (("task", layout.task), ("success", layout.outcome)):
        if path is not None:
            taken[field] = (path.removeprefix("steps/"),)
    return taken
