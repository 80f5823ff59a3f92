"""Joins what a detector found in single pictures over the whole of an episode.

A detector misses a face in some pictures: it turns, it is blurred, it is half out of
the picture. One picture that shows it is enough to know it. So the boxes of an episode
are linked to tracks, with the pictures before and after all known; a track covers every
picture from some time before its first box to some time after its last one. What is
sure in one picture makes the weak boxes beside it in time count.

Pure functions of boxes and times: no picture is looked at here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from edge.redact.boxes import Boxes

Times = npt.NDArray[np.int64]
Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Joining:
    """How boxes become masks.

    Attributes:
        sure: score of a box that makes a track by itself.
        weak: score of a box that makes one together with another one.
        gap_ns: how long a track may have no box.
        hold_ns: how long a track goes on before its first and after its last box.
        margin: how much a mask is wider on each side than its box, as a part of it.
    """

    sure: float
    weak: float
    gap_ns: int
    hold_ns: int
    margin: float


FACES: Final = Joining(0.4, 0.25, 1_000_000_000, 700_000_000, 0.25)
# Lines of text stand still, or move with the camera, and the detector is sure of them.
LINES: Final = Joining(0.5, 0.3, 1_000_000_000, 500_000_000, 0.1)

# A box continues a track if its centre is within so many sizes of where the track would
# be, and more after a gap, most of all where one box does not tell where it was going;
# and if it is at most so many times as large or small.
_REACH: Final = 0.7
_REACH_PER_S: Final = 2.0
_UNKNOWN_REACH_PER_S: Final = 6.0
_MOST_RATIO: Final = 2.2
# A weak box makes a track together with fainter ones, if they are so many in all.
_LEAST_FAINT: Final = 3
# How much a box grows on each side in each second in which nothing was found.
_GROWTH_PER_S: Final = 0.6
_NS_PER_S: Final = 1e9
# Where a track is going is seen from its boxes of the last 0.3 s.
_RECENT_S: Final = 0.3


@dataclass
class _Track:
    """Boxes that follow each other.

    Attributes:
        steps: numbers of their pictures, rising.
        boxes: centre x, centre y, width and height of each.
        scores: of each.
    """

    steps: list[int] = field(default_factory=list)
    boxes: list[Vector] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def add(self, step: int, box: Vector, score: float) -> None:
        self.steps.append(step)
        self.boxes.append(box)
        self.scores.append(score)


def find_masks(found: Sequence[Boxes], times_ns: Times, how: Joining) -> list[Boxes]:
    """Returns what must be masked in each picture of an episode.

    Args:
        found: the boxes of each picture, with all scores that the detector gives.
        times_ns: when each was taken.
        how: when boxes count.

    Returns:
        Boxes for each picture, with the margin, not cut at the picture's border. The
        score is that of the best box of their track.
    """
    masks: list[list[Vector]] = [[] for _ in found]
    for track in _link(found, times_ns, how):
        if _counts(track, how):
            _cover(track, times_ns, how, masks)
            continue
        # Nobody can say what it is: it is masked where it was seen.
        for step, box, score in zip(
            track.steps, track.boxes, track.scores, strict=True
        ):
            if score >= how.weak:
                masks[step].append(_widen(box, how, 0, score))
    return [np.array(one, np.float32).reshape(-1, 5) for one in masks]


def _counts(track: _Track, how: Joining) -> bool:
    weak = sum(score >= how.weak for score in track.scores)
    if weak == 1 and len(track.scores) >= _LEAST_FAINT:
        return True
    return max(track.scores) >= how.sure or weak >= 2


def _link(found: Sequence[Boxes], times_ns: Times, how: Joining) -> list[_Track]:
    """Gives each box to the track that it continues best, or to a new one."""
    ended: list[_Track] = []
    open_: list[_Track] = []
    for step, boxes in enumerate(found):
        now = int(times_ns[step])
        alive = [now - times_ns[one.steps[-1]] <= how.gap_ns for one in open_]
        ended += [one for one, lives in zip(open_, alive, strict=True) if not lives]
        open_ = [one for one, lives in zip(open_, alive, strict=True) if lives]
        centred = _to_centres(boxes)
        pairs = sorted(
            (distance, track, box)
            for track, one in enumerate(open_)
            for box, distance in enumerate(_distances(one, centred, now, times_ns))
            if distance < 1
        )
        taken_tracks, taken_boxes = set[int](), set[int]()
        for _, track, box in pairs:
            if track not in taken_tracks and box not in taken_boxes:
                taken_tracks.add(track)
                taken_boxes.add(box)
                open_[track].add(step, centred[box], float(boxes[box, 4]))
        for box in range(len(boxes)):
            if box not in taken_boxes:
                fresh = _Track()
                fresh.add(step, centred[box], float(boxes[box, 4]))
                open_.append(fresh)
    return ended + open_


def _distances(
    track: _Track, centred: Vector, now: int, times_ns: Times
) -> npt.NDArray[np.float64]:
    """How far boxes [n 4] are from where a track would be; from 1 on too far."""
    if not len(centred):
        return np.zeros(0)
    passed_s = (now - times_ns[track.steps[-1]]) / _NS_PER_S
    last = track.boxes[-1]
    guess = last[:2] + _velocity(track, times_ns, -1) * passed_s
    size = max(last[2], last[3])
    more = _REACH_PER_S if len(track.steps) > 1 else _UNKNOWN_REACH_PER_S
    reach = size * (_REACH + more * passed_s)
    # Where it was is as good a guess as where it was going.
    away = np.minimum(
        np.linalg.norm(centred[:, :2] - guess, axis=1),
        np.linalg.norm(centred[:, :2] - last[:2], axis=1),
    )
    ratio = centred[:, 3] / last[3]
    fits = (ratio < _MOST_RATIO) & (ratio > 1 / _MOST_RATIO)
    return np.where(fits, away / reach, 1.0)


def _velocity(track: _Track, times_ns: Times, end: int) -> Vector:
    """Pixels in a second at the end (-1) or the begin (0) of a track: [x y]."""
    order = range(len(track.steps))[:: -1 if end else 1]
    first = order[0]
    for other in order:
        passed_s = (
            times_ns[track.steps[other]] - times_ns[track.steps[first]]
        ) / _NS_PER_S
        if abs(passed_s) >= _RECENT_S or (other == order[-1] and passed_s):
            moved = track.boxes[other][:2] - track.boxes[first][:2]
            return np.asarray(moved / passed_s)
    return np.zeros(2)


def _cover(
    track: _Track, times_ns: Times, how: Joining, masks: list[list[Vector]]
) -> None:
    """Adds the masks of a track to those of its pictures."""
    best = max(track.scores)
    first, last = track.steps[0], track.steps[-1]
    seconds = times_ns / _NS_PER_S
    for step in range(first, last + 1):
        after = int(np.searchsorted(track.steps, step))
        if track.steps[after] == step:
            box, alone_s = track.boxes[after], 0.0
        else:
            begin, end = seconds[track.steps[after - 1]], seconds[track.steps[after]]
            part = (seconds[step] - begin) / max(end - begin, 1 / _NS_PER_S)
            box = (1 - part) * track.boxes[after - 1] + part * track.boxes[after]
            alone_s = min(seconds[step] - begin, end - seconds[step])
        masks[step].append(_widen(box, how, alone_s, best))
    for at, way in ((-1, 1), (0, -1)):
        step = track.steps[at]
        velocity = _velocity(track, times_ns, at)
        begin = step
        while 0 <= (step := step + way) < len(masks):
            passed_s = seconds[step] - seconds[begin]
            if abs(passed_s) * _NS_PER_S > how.hold_ns:
                break
            moved = track.boxes[at].copy()
            moved[:2] += velocity * passed_s
            # It may have stopped, or have gone on.
            for box in (track.boxes[at], moved):
                masks[step].append(_widen(box, how, abs(passed_s), best))


def _widen(box: Vector, how: Joining, alone_s: float, score: float) -> Vector:
    half = box[2:] * (0.5 + how.margin + _GROWTH_PER_S * alone_s)
    return np.concatenate([box[:2] - half, box[:2] + half, [score]])


def _to_centres(boxes: Boxes) -> Vector:
    corners = boxes[:, :4].astype(np.float64)
    sizes = corners[:, 2:] - corners[:, :2]
    return np.concatenate([corners[:, :2] + sizes / 2, sizes], axis=1)
