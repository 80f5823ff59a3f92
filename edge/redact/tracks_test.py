"""What masks of an episode follow from boxes in single pictures."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.redact import boxes, tracks
from edge.redact.boxes import Boxes

HOW = tracks.FACES
PERIOD_NS = 50_000_000  # 20 pictures in a second
SIZE = 30.0


def times(count: int) -> npt.NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) * PERIOD_NS


def box(x: float, y: float = 100.0, score: float = 0.9, size: float = SIZE) -> Boxes:
    half = size / 2
    return np.array([[x - half, y - half, x + half, y + half, score]], np.float32)


def covers(masks: Boxes, x: float, y: float = 100.0, size: float = SIZE) -> bool:
    """Whether one mask covers the whole of a face."""
    left, top, right, bottom = box(x, y, size=size)[0, :4]
    return any(
        one[0] <= left and one[1] <= top and one[2] >= right and one[3] >= bottom
        for one in masks
    )


def walk(step: int) -> float:
    """Where somebody is who crosses the picture: 8 pixels in each step."""
    return 20.0 + 8 * step


@pytest.mark.parametrize("seen", [(0, 19), (0, 1, 2, 17), (0, 9, 19), (3, 16)])
def test_face_that_is_missed_for_up_to_a_second_is_masked_all_the_time(
    seen: tuple[int, ...],
) -> None:
    found = [box(walk(step)) if step in seen else boxes.NONE for step in range(20)]
    masks = tracks.find_masks(found, times(20), HOW)
    for step, one in enumerate(masks):
        if seen[0] <= step <= seen[-1]:
            assert covers(one, walk(step)), step


def test_face_is_masked_before_it_is_found_and_after_it_is_lost() -> None:
    found = [box(walk(step)) if 15 <= step < 25 else boxes.NONE for step in range(40)]
    masks = tracks.find_masks(found, times(40), HOW)
    held = round(HOW.hold_ns / PERIOD_NS)
    for step in range(15 - held, 25 + held):
        assert covers(masks[step], walk(step)), step
    assert not len(masks[0]) and not len(masks[39])


def test_face_that_stops_where_it_was_lost_stays_masked() -> None:
    found = [box(walk(step)) if step < 10 else boxes.NONE for step in range(20)]
    masks = tracks.find_masks(found, times(20), HOW)
    assert all(covers(one, walk(9)) for one in masks[10:20])


def test_weak_boxes_beside_a_sure_one_are_masked_where_they_are() -> None:
    weak = HOW.weak / 2
    found = [box(walk(step), score=0.9 if step == 5 else weak) for step in range(30)]
    masks = tracks.find_masks(found, times(30), HOW)
    assert all(covers(one, walk(step)) for step, one in enumerate(masks))


def test_weak_boxes_alone_are_nothing() -> None:
    found = [box(walk(step), score=HOW.weak / 2) for step in range(9)]
    assert not any(map(len, tracks.find_masks(found, times(9), HOW)))


def test_one_box_of_which_the_detector_is_unsure_is_masked_where_it_was_seen() -> None:
    found = [boxes.NONE] * 9
    found[4] = box(50, score=(HOW.weak + HOW.sure) / 2)
    masks = tracks.find_masks(found, times(9), HOW)
    assert [len(one) for one in masks] == [0, 0, 0, 0, 1, 0, 0, 0, 0]
    assert covers(masks[4], 50)


def test_weak_box_with_two_fainter_ones_is_masked_all_the_time() -> None:
    """Somebody comes from behind a post in the last three pictures."""
    found = [boxes.NONE] * 27
    for score in (0.12, (HOW.weak + HOW.sure) / 2, 0.18):
        found = [*found, box(walk(len(found) - 27), score=score)]
    masks = tracks.find_masks(found, times(30), HOW)
    assert all(covers(masks[step], walk(step - 27)) for step in (27, 28, 29))


def test_two_people_who_cross_are_both_masked_all_the_time() -> None:
    def other(step: int) -> float:
        return 180.0 - 8 * step

    found = [
        np.concatenate([box(walk(step)), box(other(step), 110)])
        if abs(walk(step) - other(step)) > SIZE
        else box(walk(step))  # one hides the other, or they are taken for one
        for step in range(20)
    ]
    masks = tracks.find_masks(found, times(20), HOW)
    for step, one in enumerate(masks):
        assert covers(one, walk(step))
        assert covers(one, other(step), 110)


def test_episode_without_boxes_or_pictures_has_no_masks() -> None:
    assert tracks.find_masks([], times(0), HOW) == []
    (one,) = tracks.find_masks([boxes.NONE], times(1), HOW)
    assert one.shape == (0, 5)


def test_pictures_at_one_time_are_joined_without_a_division_by_zero() -> None:
    found = [box(50), box(52), boxes.NONE, box(54)]
    masks = tracks.find_masks(found, np.zeros(4, np.int64), HOW)
    assert all(map(len, masks[:2])) and len(masks[3])


_BOX = st.tuples(
    st.floats(0, 320), st.floats(0, 240), st.floats(4, 200), st.floats(0.1, 1)
)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(
    st.lists(st.lists(_BOX, max_size=4), min_size=1, max_size=12),
    st.integers(1, 2_000_000_000),
)
def test_every_box_that_is_sure_is_inside_a_mask_of_its_picture(
    found: list[list[tuple[float, float, float, float]]], period_ns: int
) -> None:
    given_ = [
        np.concatenate(
            [boxes.NONE, *(box(x, y, score, size) for x, y, size, score in one)]
        )
        for one in found
    ]
    at = np.arange(len(found), dtype=np.int64) * period_ns
    masks = tracks.find_masks(given_, at, dataclasses.replace(HOW, hold_ns=100_000_000))
    for one, mask in zip(given_, masks, strict=True):
        for left, top, right, bottom, score in one:
            if score >= HOW.sure:
                assert (
                    (mask[:, 0] <= left + 0.01)
                    & (mask[:, 1] <= top + 0.01)
                    & (mask[:, 2] >= right - 0.01)
                    & (mask[:, 3] >= bottom - 0.01)
                ).any()
