"""Masks the pictures of a whole episode, in a child that may fail or hang.

    look at each picture -> join over time -> black areas, encode again -> new pictures

A picture at which a detector did not look is dropped: a black one takes its place.
Where that happens too often, all pictures of the episode are dropped, since tracks are
joined from what was seen in the others.
"""

import contextlib
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Final

import numpy as np

from edge.errors import DetectorError
from edge.redact import boxes, mask_messages, pages, tracks
from edge.redact.boxes import NONE, Area, Boxes
from edge.redact.mask_messages import LOOK, MASK, Header, Late
from edge.redact.tracks import Joining, Times
from edge.redact.weights import CENTERFACE, TEXT_LINES, Weights
from rlds import blank_picture, jpeg_segments
from rlds.redaction_record import Looked, PictureMasks
from rlds.spec import MASKS_VERSION

Look = tuple[int, float]
"""A quarter turn and a size, as `face_detector.py` takes them."""

MODULE: Final = "edge.redact.mask_worker"
LIMIT_S: Final = 5.0
"""For one picture. One of 320x240 takes 0.06 s on a desk; one of 16 megapixels 1 s."""
_START_LIMIT_S: Final = 60.0  # loading on a busy robot
_MOST_PIXELS: Final = jpeg_segments.MAX_PIXELS
# A child that died or hung this often in one episode is not asked again.
_MOST_FAILURES: Final = 3
# Of the pictures; with fewer, too little is known of what moved between them.
_LEAST_SEEN: Final = 0.5
# Of a picture: a dropped one has the size of the others, or this one.
_UNKNOWN_SIZE: Final = (64, 64)
_UPRIGHT: Final = 0
# How pictures are looked at, one after the other: for faces that are far and for those
# that fill the picture, then for all others, and in another turn.
_SIZES: Final = ((1.5, 0.5), (1.0,))
_LOOKS: Final[tuple[tuple[Look, ...], ...]] = tuple(
    look
    for turn in (1, 2, 3)
    for look in (((_UPRIGHT, 1.5), (_UPRIGHT, 0.5)), ((_UPRIGHT, 1.0), (turn, 1.0)))
)
# A detector that sees so much is not looking at a picture of a camera.
_MOST_BOXES: Final = 200


@dataclass(frozen=True)
class _Aim:
    """What is looked for: by which weights, and how boxes become masks."""

    weights: Weights
    joining: Joining

    def describe(self) -> Looked:
        return Looked(
            self.weights.name,
            self.weights.version,
            round(1000 * self.joining.sure),
            round(1000 * self.joining.weak),
        )


_AIMS: Final[Mapping[str, _Aim]] = {
    "faces": _Aim(CENTERFACE, tracks.FACES),
    "plates": _Aim(TEXT_LINES, tracks.LINES),
    "pages": _Aim(TEXT_LINES, tracks.LINES),
}


@dataclass(frozen=True)
class Masked:
    """The pictures of an episode that may leave, and what was done to them.

    Attributes:
        images: one JPEG for each picture.
        frames_masked: pictures in which something is black.
        detectors: SHA-256 of the weights that looked, by what they looked for.
        masks: what the record says of them.
        reasons: why pictures were dropped, each said once.
    """

    images: tuple[bytes, ...]
    frames_masked: int
    detectors: Mapping[str, str]
    masks: PictureMasks
    reasons: tuple[str, ...]


@dataclass
class _Seen:
    """What became of one picture: its size and its boxes; or a fault.

    Attributes:
        size: its width and height in pixels, if it could be decoded.
        faces: boxes of faces by the turn in which it was looked at; None if it was not.
        lines: boxes of lines of text.
        fault: why it was not looked at.
    """

    size: tuple[int, int] | None = None
    faces: Mapping[int, Boxes] | None = None
    lines: Boxes = field(default_factory=lambda: NONE)
    fault: str = ""


class Masker:
    """Masks episodes, one after the other; it keeps nothing between two of them."""

    def __init__(
        self,
        with_pages: bool = False,
        limit_s: float = LIMIT_S,
        module: str = MODULE,
    ) -> None:
        """Chooses what to look for.

        Args:
            with_pages: whether screens and paper with text are masked as a whole, and
                not only their lines.
            limit_s: how long the child may take for one picture, in seconds.
            module: the child's program.
        """
        self._aims = {
            name: aim for name, aim in _AIMS.items() if with_pages or name != "pages"
        }
        self._limit_s = limit_s
        self._module = module

    @property
    def detectors(self) -> Mapping[str, str]:
        """SHA-256 of the weights that look, by what they look for."""
        return {name: aim.weights.sha256 for name, aim in self._aims.items()}

    def check(self) -> None:
        """Starts the child once, and ends it.

        Raises:
            DetectorError: a detector is missing, or its weights are other ones.
        """
        _Child(self._module).close()

    def mask(self, images: Sequence[bytes], times_ns: Times) -> Masked:
        """Masks the pictures of one episode.

        Args:
            images: one JPEG for each step, of any size; it may be damaged.
            times_ns: when each was taken, rising.
        """
        with contextlib.closing(_Children(self._module, self._limit_s)) as children:
            seen = self._look(images, children)
            areas = self._join(seen, times_ns)
            changed = [
                None if areas_ is None else children.mask(image, areas_)
                for image, areas_ in zip(images, areas, strict=True)
            ]
            reasons = {one.fault: None for one in seen if one.fault}
            reasons |= dict.fromkeys(children.faults)
            # Where a camera had no picture, a black one is there already.
            taken = len(images) - blank_picture.count(images)
            missing = sum(one is None for one in changed) - (len(images) - taken)
            if children.given_up or missing > (1 - _LEAST_SEEN) * taken:
                changed = [None] * len(images)
        sizes = [one.size for one in seen]
        known = next((size for size in sizes if size is not None), _UNKNOWN_SIZE)
        return Masked(
            images=tuple(
                blank_picture.make(*(size or known)) if image is None else image
                for image, size in zip(changed, sizes, strict=True)
            ),
            frames_masked=sum(
                image is not None and bool(areas_)
                for image, areas_ in zip(changed, areas, strict=True)
            ),
            detectors=self.detectors,
            masks=PictureMasks(
                MASKS_VERSION,
                sum(image is None for image in changed),
                {name: aim.describe() for name, aim in self._aims.items()},
            ),
            reasons=tuple(reasons),
        )

    def _look(self, images: Sequence[bytes], children: "_Children") -> list[_Seen]:
        """Looks at each picture, and again if the camera is not mounted upright."""
        # Where the camera was slower than the control loop, a picture comes again.
        fresh = [n for n, one in enumerate(images) if not n or one != images[n - 1]]
        found = [
            _Seen(blank_picture.find_size(images[number]))
            if blank_picture.is_blank(images[number])
            else children.look(images[number], _LOOKS[n % len(_LOOKS)])
            for n, number in enumerate(fresh)
        ]
        turn = _find_turn(found)
        if turn != _UPRIGHT:
            for n, number in enumerate(fresh):
                looks = tuple((turn, size) for size in _SIZES[n % len(_SIZES)])
                found[n] = children.look_again(images[number], looks, found[n])
        which = np.searchsorted(fresh, np.arange(len(images)), side="right") - 1
        return [found[n] for n in which]

    def _join(
        self, seen: Sequence[_Seen], times_ns: Times
    ) -> list[tuple[Area, ...] | None]:
        """Returns the areas of each picture; None where it is dropped."""
        areas: list[list[Area]] = [[] for _ in seen]
        for part, size in _same_sizes(seen):
            for name, aim in self._aims.items():
                found = [_boxes(one, name) for one in seen[part]]
                masks = tracks.find_masks(found, times_ns[part], aim.joining)
                for list_, one in zip(areas[part], masks, strict=True):
                    list_.extend(_inside(one, size))
        return [
            tuple(list_) if one.faces is not None else None
            for one, list_ in zip(seen, areas, strict=True)
        ]


class DroppingMasker(Masker):
    """Drops every picture, for an episode for which there is no time."""

    def mask(self, images: Sequence[bytes], times_ns: Times) -> Masked:
        """See `Masker.mask`; no picture is looked at."""
        del times_ns
        sizes = [jpeg_segments.read_frame(image) for image in images]
        return Masked(
            images=tuple(
                blank_picture.make(one.width, one.height)
                if one is not None and one.width * one.height <= _MOST_PIXELS
                else blank_picture.make(*_UNKNOWN_SIZE)
                for one in sizes
            ),
            frames_masked=0,
            detectors={},
            masks=PictureMasks(MASKS_VERSION, len(images), {}),
            reasons=("there was no time to look at them",),
        )


def open_masker(
    tell: Callable[[str], None], with_pages: bool = False, module: str = MODULE
) -> Masker | None:
    """Returns a masker whose detectors load; None, and a line, if one is missing."""
    masker = Masker(with_pages, module=module)
    try:
        masker.check()
    except DetectorError as e:
        tell(f"no picture will leave this robot: {e}")
        return None
    return masker


class _Children:
    """Asks a child, and another one when that has failed."""

    def __init__(self, module: str, limit_s: float) -> None:
        self._module = module
        self._limit_s = limit_s
        self._child: _Child | None = None
        self._failures = 0
        self.faults: list[str] = []

    @property
    def given_up(self) -> bool:
        """Whether children failed so often that no other one is asked."""
        return self._failures >= _MOST_FAILURES

    def look(self, image: bytes, looks: Sequence[Look], *, lines: bool = True) -> _Seen:
        answer = self._ask({"do": LOOK, "looks": looks, "lines": lines}, image)
        if answer is None:
            return _Seen(fault="a detector did not look at it")
        header = answer[0]
        if "fault" in header:
            return _Seen(fault=str(header["fault"]))
        size = (int(header["size"][0]), int(header["size"][1]))
        faces = {int(turn): _array(one) for turn, one in header["faces"].items()}
        found = _array(header["lines"])
        if sum(map(len, (*faces.values(), found))) > _MOST_BOXES:
            return _Seen(size, fault="a detector is unsure of it")
        return _Seen(size, faces, found)

    def look_again(self, image: bytes, looks: Sequence[Look], seen: _Seen) -> _Seen:
        """Adds to what was seen, unless that was nothing; a fault takes all away."""
        if seen.faces is None:
            return seen
        again = self.look(image, looks, lines=False)
        if again.faces is None:
            return _Seen(seen.size, fault=again.fault)
        faces = {
            turn: np.concatenate(
                [seen.faces.get(turn, NONE), again.faces.get(turn, NONE)]
            )
            for turn in {*seen.faces, *again.faces}
        }
        return _Seen(seen.size, faces, seen.lines)

    def mask(self, image: bytes, areas: Sequence[Area]) -> bytes | None:
        answer = self._ask({"do": MASK, "areas": areas}, image)
        return None if answer is None or "fault" in answer[0] else answer[1]

    def close(self) -> None:
        if self._child is not None:
            self._child.close()
            self._child = None

    def _ask(self, header: Header, image: bytes) -> tuple[Header, bytes] | None:
        """Returns the answer; None if there is no child any more, or it failed."""
        if self.given_up:
            return None
        try:
            if self._child is None:
                self._child = _Child(self._module)
            return self._child.ask(header, image, self._limit_s)
        except DetectorError as e:
            self._failures += 1
            self.faults.append(str(e))
            self.close()
            return None


class _Child:
    """One child process whose detectors have loaded."""

    def __init__(self, module: str) -> None:
        """Starts it.

        Raises:
            DetectorError: a detector is missing, or it does not start.
        """
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
                start_new_session=True,  # Ctrl-C is for the parent
            )
        except OSError as e:
            raise _failed("to start", e.strerror or type(e).__name__) from e
        try:
            answer, _ = self._wait(_START_LIMIT_S)
            if "fault" in answer:
                raise _failed("every detector to load", str(answer["fault"]))
        except BaseException:
            self.close()
            raise

    def ask(self, header: Header, image: bytes, limit_s: float) -> tuple[Header, bytes]:
        """Returns the answer to one message.

        Raises:
            DetectorError: it took longer than `limit_s`, or ended.
        """
        try:
            stream: Any = self._process.stdin
            stream.write(mask_messages.encode(header, image))
            stream.flush()
        except OSError as e:
            raise _failed("an answer", "it has ended") from e
        return self._wait(limit_s)

    def close(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                assert stream is not None
                stream.close()

    def _wait(self, limit_s: float) -> tuple[Header, bytes]:
        stream: BinaryIO | Any = self._process.stdout
        try:
            return mask_messages.read_until(stream.fileno(), time.monotonic() + limit_s)
        except (Late, ValueError) as e:
            raise _failed(f"an answer within {limit_s:g} s", str(e)) from e


def _failed(expected: str, got: str) -> DetectorError:
    return DetectorError("the detectors", expected, got, "its pictures are dropped")


def _array(found: list[list[float]]) -> Boxes:
    return np.array(found, np.float32).reshape(-1, 5)


def _boxes(one: _Seen, name: str) -> Boxes:
    if one.faces is None:
        return NONE
    if name == "faces":
        return boxes.suppress(np.concatenate([*one.faces.values()]), boxes.SAME)
    return pages.find_pages(one.lines) if name == "pages" else one.lines


def _find_turn(seen: Sequence[_Seen]) -> int:
    """Returns how the camera is turned: as most of the faces are, or upright.

    A turn other than upright is looked at in a sixth of the pictures.
    """
    weights = {_UPRIGHT: 1, 1: len(_LOOKS), 2: len(_LOOKS), 3: len(_LOOKS)}
    votes = dict.fromkeys(weights, 0)
    for one in seen:
        best = {
            turn: float(found[:, 4].max(initial=0))
            for turn, found in (one.faces or {}).items()
        }
        if best and max(best.values()) >= tracks.FACES.sure:
            turn = max(best, key=lambda turn: best[turn])
            votes[turn] += weights[turn]
    return max(votes, key=lambda turn: votes[turn])


def _same_sizes(seen: Sequence[_Seen]) -> Iterator[tuple[slice, tuple[int, int]]]:
    """Yields the parts of an episode in which pictures have one size, and the size.

    A picture of unknown size belongs to the part in which it lies.
    """
    first, size = 0, None
    for number, one in enumerate(seen):
        if one.size is None or one.size == size:
            continue
        if size is not None:
            yield slice(first, number), size
            first = number
        size = one.size
    yield slice(first, len(seen)), size or _UNKNOWN_SIZE


def _inside(found: Boxes, size: tuple[int, int]) -> list[Area]:
    """The whole pixels that boxes touch, inside a picture of a size."""
    corners = np.clip(found[:, :4], 0, [*size, *size])
    areas = []
    for left, top, right, bottom in corners.tolist():
        area = (int(left), int(top), math.ceil(right), math.ceil(bottom))
        if area[0] < area[2] and area[1] < area[3]:
            areas.append(area)
    return areas
