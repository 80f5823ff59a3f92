"""What other people's data hold, in one form; nothing is checked yet.

A source is a folder in a format of others. It says what it holds before an episode is
read, and then yields each episode or the reason for which it cannot be read, so that
one bad episode costs no other.
"""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from cloud.errors import BadEpisodeError

Values = np.ndarray | Sequence[bytes]
"""All values of one field: an array [T, ...] of any type, or an encoded JPEG each."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """What a person wants of a source, beside what it says itself.

    Attributes:
        state: names of the features that make the state, in order; none for a default.
        action: likewise for the action.
        cameras: names of the cameras; none for all of them, None for no pictures.
        control_hz: control steps per second; None for what the source says.
        image_size: longest side of a picture, in pixels; 0 keeps its size.
        reads_task: whether the tasks of the source are read.
    """

    state: tuple[str, ...] = ()
    action: tuple[str, ...] = ()
    cameras: tuple[str, ...] | None = ()
    control_hz: float | None = None
    image_size: int = 0
    reads_task: bool = True


@dataclasses.dataclass(frozen=True)
class SourceFacts:
    """What a source says of itself and of all its episodes.

    Attributes:
        format: its format, with the version, such as `LeRobot v3.0`.
        name: name of the dataset.
        splits: number of episodes of each split, in the order in which they are read.
        control_hz: control steps per second; None if each step has its own time.
        robot_model: make of the robot; "" if the source does not say.
        taken: for each field of `rlds.spec` the features of the source it is made of.
        left_behind: why each other feature is not carried over, by its name.
        renamed: our names of the cameras that the source calls otherwise, by feature;
            "" for none.
        described: what else is known of it, such as licence and citation.
        files: every file that is read, relative to the folder.
    """

    format: str
    name: str
    splits: Mapping[str, int]
    control_hz: float | None
    robot_model: str
    taken: Mapping[str, tuple[str, ...]]
    left_behind: Mapping[str, str]
    renamed: Mapping[str, str]
    described: Mapping[str, str]
    files: tuple[pathlib.PurePosixPath, ...]

    @property
    def num_episodes(self) -> int:
        """Number of episodes, as the source says."""
        return sum(self.splits.values())


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedEpisode:
    """One episode as its source has it.

    Attributes:
        name: what the source calls it, such as `train 12`; errors begin with it.
        split: the split of the source that it is in.
        index: its number within the split, from 0.
        steps: values of the fields of `rlds.spec`, as many as the source has. State
            and actions may be several arrays [T, ...], one for each feature.
        task: what the robot was asked to do; None if the source does not say.
        success: whether it succeeded; None if the source does not say.
        stated: other fields of the episode as a whole that the source has.
        tags: those of its tags that `rlds.spec` knows.
        notes: what the source had to correct: a field and a sentence each.
    """

    name: str
    split: str
    index: int
    steps: Mapping[str, Values | Sequence[np.ndarray]]
    task: str | None
    success: bool | None
    stated: Mapping[str, str] = dataclasses.field(default_factory=dict)
    tags: tuple[str, ...] = ()
    notes: Sequence[tuple[str, str]] = ()


@dataclasses.dataclass(frozen=True)
class Unreadable:
    """An episode that cannot be carried over, and why."""

    name: str
    split: str
    index: int
    error: BadEpisodeError


class Source(Protocol):
    """A folder of other people's data, opened."""

    @property
    def facts(self) -> SourceFacts:
        """What it says of itself."""

    def read(self) -> Iterator[RecordedEpisode | Unreadable]:
        """Yields every episode of `facts.splits` once, in order.

        Raises:
            SourceError: what all episodes need is missing.
            DiskError: a file cannot be read.
        """


def decode_text(raw: object, episode: str, field: str) -> str:
    """Returns a text of a source.

    Raises:
        BadEpisodeError: it is no text, or its bytes are not UTF-8.
    """
    if isinstance(raw, str):
        try:
            raw.encode()
        except UnicodeEncodeError as e:
            raise bad(
                episode, field, "Unicode text", f"a surrogate at {e.start}"
            ) from e
        return raw
    if not isinstance(raw, bytes):
        raise bad(episode, field, "a text", type(raw).__name__)
    try:
        return raw.decode()
    except UnicodeDecodeError as e:
        raise bad(episode, field, "UTF-8", f"another byte at {e.start}") from e


def bad(episode: str, field: str, expected: str, got: object) -> BadEpisodeError:
    """Returns the error about one field of one episode."""
    return BadEpisodeError(f"episode {episode}: {field}", expected, got)
