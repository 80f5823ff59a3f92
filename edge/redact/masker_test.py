"""An episode of pictures is masked, or dropped where nobody looked; nothing between."""

import io
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw, ImageFont

from edge.errors import DetectorError
from edge.redact import masker
from edge.redact.masker import Masked, Masker
from edge.testing import failing_mask_worker
from edge.testing.failing_mask_worker import MASKED, SIZE
from edge.testing.photographs import HEAD, show_head
from rlds import blank_picture, jpeg_segments

Fails = Callable[..., Masked]


def times(count: int, period_ns: int = 50_000_000) -> npt.NDArray[np.int64]:
    return np.arange(count, dtype=np.int64) * period_ns


@pytest.fixture
def mask(monkeypatch: pytest.MonkeyPatch) -> Fails:
    """Masks pictures with a child that fails in a way."""

    def run(images: Sequence[bytes], how: str = "", limit_s: float = 0.5) -> Masked:
        monkeypatch.setenv("MASK_WORKER", how)
        chosen = Masker(module=failing_mask_worker.__name__, limit_s=limit_s)
        return chosen.mask(images, times(len(images), 10_000_000_000))

    return run


@pytest.mark.parametrize("how", ["hang", "die", "lie", "fault"])
def test_picture_at_which_the_detector_fails_is_dropped_and_no_other_one(
    mask: Fails, how: str
) -> None:
    begin_s = time.monotonic()
    images = [b"one", b"a face", b"bad", b"two", b"three"]
    found = mask(images, how)
    blank = blank_picture.make(*SIZE)
    assert found.images == (b"one", MASKED + b"a face", blank, b"two", b"three")
    assert (found.frames_masked, found.masks.frames_dropped) == (1, 1)
    assert len(found.reasons) in (1, 2)
    assert time.monotonic() - begin_s < 60


@pytest.mark.parametrize("how", ["hang", "die", "lie"])
def test_detector_that_fails_again_and_again_drops_every_picture(
    mask: Fails, how: str
) -> None:
    images = [b"one", b"a face", *(b"bad %d" % number for number in range(4))]
    found = mask([*images, *(b"more %d" % number for number in range(20))], how)
    assert set(found.images) == {blank_picture.make(*SIZE)}
    assert (found.frames_masked, found.masks.frames_dropped) == (0, 26)


def test_episode_most_of_whose_pictures_are_damaged_is_dropped_as_a_whole(
    mask: Fails,
) -> None:
    damaged = [b"bad %d" % number for number in range(4)]
    assert mask([*damaged, b"1", b"2", b"3", b"4"]).masks.frames_dropped == 4
    found = mask([*damaged, b"1", b"2", b"3"])
    assert found.masks.frames_dropped == 7
    assert blank_picture.count(found.images) == 7


def test_pictures_that_a_camera_did_not_take_are_no_fault_of_the_others(
    mask: Fails,
) -> None:
    none = blank_picture.make(*SIZE)
    found = mask([none, none, none, b"a face", none])
    assert found.images == (none, none, none, MASKED + b"a face", none)
    assert (found.frames_masked, found.masks.frames_dropped) == (1, 4)
    assert found.reasons == ()


def test_picture_of_which_the_detector_is_unsure_is_dropped(mask: Fails) -> None:
    found = mask([b"one", b"a crowd", b"two"])
    assert found.images[1] == blank_picture.make(*SIZE)
    assert found.reasons == ("a detector is unsure of it",)


def test_pictures_of_unknown_size_are_dropped_in_some_size(mask: Fails) -> None:
    found = mask([b"bad"])
    assert found.images == (blank_picture.make(64, 64),)


def test_detector_that_does_not_start_drops_every_picture_and_is_told_of(
    mask: Fails,
) -> None:
    found = mask([b"one", b"two"], "no-start")
    assert found.masks.frames_dropped == 2
    assert "no weights" in found.reasons[-1]
    with pytest.raises(DetectorError, match="no weights"):
        Masker(module=failing_mask_worker.__name__).check()


def test_masker_without_a_detector_is_none_and_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setenv("MASK_WORKER", "no-start")
    chosen = masker.open_masker(told.append, module=failing_mask_worker.__name__)
    assert chosen is None
    assert len(told) == 1
    assert told[0].startswith("no picture will leave this robot: the detectors: ")
    assert masker.open_masker(told.append, module="no.such_module") is None


def encode(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "Ada Lovelace at home"
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif.tobytes())
    return buffer.getvalue()


def decode(image: bytes) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))


def test_face_that_is_hidden_from_the_detector_in_some_pictures_never_leaves() -> None:
    """The real detectors: in three pictures a bar lies over the eyes."""
    shown = show_head(5)
    hidden = shown.copy()
    hidden[HEAD[1] + 30 : HEAD[1] + 75, 60:260] = 20
    grey = np.full_like(shown, 90)
    pictures = [shown, shown, hidden, hidden, hidden, shown, grey, grey]
    found = Masker().mask([encode(one) for one in pictures], times(8))
    assert found.masks.frames_dropped == 0
    assert found.frames_masked == 8  # the last ones are held
    assert found.reasons == ()
    for image in found.images:
        assert jpeg_segments.find_fault(image) is None
        left, top = HEAD
        assert decode(image)[top + 20 : top + 100, left + 15 : left + 78].max() < 40
        assert decode(image)[:20, :40].min() > 60


def test_two_episodes_whose_faces_differ_become_the_same_pictures() -> None:
    """Nothing of what is under a mask is in the bytes."""
    one, other = show_head(5), show_head(5).copy()
    inside = (slice(HEAD[1] + 40, HEAD[1] + 60), slice(HEAD[0] + 30, HEAD[0] + 60))
    other[inside] = np.clip(other[inside].astype(int) + 3, 0, 255)
    chosen = Masker()
    raw = [Image.fromarray(pixels) for pixels in (one, other)]
    masked = []
    for image in raw:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=100, subsampling=0)
        masked.append(chosen.mask([buffer.getvalue()], times(1)))
    before = [decode(encode(pixels)) for pixels in (one, other)]
    assert (before[0] != before[1]).any()
    assert masked[0].frames_masked == 1
    assert masked[0].images == masked[1].images


def test_pages_are_masked_as_a_whole_where_that_is_wanted() -> None:
    image = Image.new("RGB", (320, 240), (120, 110, 100))
    draw = ImageDraw.Draw(image)
    draw.rectangle((60, 40, 260, 200), (245, 245, 245))
    font = ImageFont.load_default(12)
    for line in range(7):
        draw.text((70, 50 + 20 * line), "a letter to Ada about it", (0, 0, 0), font)
    lines = Masker().mask([encode(np.asarray(image))], times(1))
    whole = Masker(with_pages=True).mask([encode(np.asarray(image))], times(1))
    assert set(lines.detectors) == {"faces", "plates"}
    assert set(whole.detectors) == {"faces", "plates", "pages"} == {*whole.masks.looked}

    def count_black(found: Masked) -> int:
        return int((decode(found.images[0]).max(axis=2) < 30).sum())

    assert 0 < count_black(lines) < count_black(whole)
    assert decode(whole.images[0])[60:180, 75:180].max() < 30


def test_camera_that_changes_its_size_is_masked_in_each_of_them() -> None:
    small = np.asarray(Image.fromarray(show_head(9)).resize((160, 120)))
    pictures = [show_head(9)] * 2 + [small] * 2 + [show_head(9)]
    found = Masker().mask([encode(one) for one in pictures], times(5))
    assert [Image.open(io.BytesIO(one)).size for one in found.images] == [
        *[(320, 240)] * 2,
        *[(160, 120)] * 2,
        (320, 240),
    ]
    for image in found.images:
        shown = decode(image)
        factor = shown.shape[1] / 320
        x, y = round(factor * (HEAD[0] + 46)), round(factor * (HEAD[1] + 60))
        assert shown[y - 5 : y + 5, x - 5 : x + 5].max() < 30
