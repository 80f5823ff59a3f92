"""Draws moving scenes from photographs of faces, and says where the faces are.

Each scene is a camera of 320x240 with a view of 60 degrees. Heads of one or two people
move in it at 0.5 to 2 m, before photographs that pan. A person is ten photographs of
one subject, which fade into each other: looks, glances and half profiles. People come
in from outside the picture or from behind a bar, turn their head, are dark, noisy and
blurred by their motion.

Labels: the photographs hold one head each, framed alike, so that the features from
brow to chin and from eye to eye lie within one ellipse (`_CORE`).
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

WIDTH: Final = 320
HEIGHT: Final = 240
RATE_HZ: Final = 20
_FOCAL_PX: Final = WIDTH / 2 / np.tan(np.radians(30))
# A photograph shows 0.26 m from top to bottom: a head is 0.23 m high.
_PHOTO_M: Final = 0.26
_CORE: Final = (0.5, 0.57, 0.28, 0.30)  # centre and radii, in parts of the photograph
_HEAD: Final = (0.5, 0.52, 0.46, 0.50)
_TINTS: Final = ((1.0, 0.80, 0.68), (0.92, 0.72, 0.58), (0.70, 0.52, 0.42), (1, 1, 1))

type Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Face:
    """One face in one picture.

    Attributes:
        track: number of the person in the scene.
        core: bool [h w], the visible part of its features.
        share: how much of the features is visible, 0 to 1.
        height_px: of the head.
    """

    track: int
    core: npt.NDArray[np.bool_]
    share: float
    height_px: float


@dataclass(frozen=True)
class Scene:
    """Some seconds of a camera.

    Attributes:
        images: one JPEG for each step.
        faces: the faces of each of them.
        times_ns: when each was taken.
    """

    images: tuple[bytes, ...]
    faces: tuple[tuple[Face, ...], ...]
    times_ns: npt.NDArray[np.int64]


def read_people(folder: Path) -> list[list[Image.Image]]:
    """Reads photographs `s<n>/<n>.pgm`, all of one person together."""
    people = []
    for one in sorted(folder.glob("s*")):
        files = sorted(one.glob("*.pgm"))
        if files:
            people.append([Image.open(path).convert("L") for path in files])
    return people


def read_backgrounds(paths: Sequence[Path]) -> list[Image.Image]:
    """Reads photographs without faces, large enough to pan over."""
    found = []
    for path in paths:
        image = Image.open(path).convert("RGB")
        factor = max(2.0 * WIDTH / image.width, 2.0 * HEIGHT / image.height)
        size = (round(image.width * factor), round(image.height * factor))
        found.append(image.resize(size, Image.Resampling.BILINEAR))
    return found


def draw_scene(
    seed: int,
    people: Sequence[Sequence[Image.Image]],
    backgrounds: Sequence[Image.Image],
    steps: int = 30,
    quarter_turns: int = 0,
    distances_m: tuple[float, float] = (0.5, 2.0),
) -> Scene:
    """Draws the scene of a seed.

    Args:
        seed: what differs from scene to scene.
        people: photographs of each person; none for a scene without people.
        backgrounds: photographs without faces.
        steps: number of pictures.
        quarter_turns: how the camera is mounted, in turns of 90 degrees.
        distances_m: nearest and farthest place of a person.
    """
    random = np.random.default_rng(seed)
    background = backgrounds[int(random.integers(len(backgrounds)))]
    count = min(len(people), 1 + int(random.random() < 0.4))
    chosen = random.choice(max(1, len(people)), count, replace=False)
    heads = [
        _Head(n, people[int(one)], random, steps, distances_m)
        for n, one in enumerate(chosen)
    ]
    # Who is nearer is drawn over whom is farther.
    heads.sort(key=lambda head: -head.distance_m)
    free = np.array([background.width - WIDTH, background.height - HEIGHT])
    corner, pan = random.random(2) * free, random.uniform(-3, 3, 2)
    bar = _make_bar(random)
    gain, noise = random.uniform(0.35, 1.15), random.uniform(0, 6)
    quality = int(random.integers(70, 92))
    images, faces = [], []
    for step in range(steps):
        left, top = np.clip(corner + pan * step, 0, free).astype(int)
        image = background.crop((left, top, left + WIDTH, top + HEIGHT))
        cores: list[tuple[_Head, npt.NDArray[np.bool_], float]] = []
        for head in heads:
            core, covers, whole = head.draw(image, step)
            cores = [(other, seen & ~covers, all_) for other, seen, all_ in cores]
            cores.append((head, core, whole))
        if bar is not None:
            covered = _draw_bar(image, bar)
            cores = [(head, seen & ~covered, all_) for head, seen, all_ in cores]
        pixels = np.asarray(image, np.float32) * gain
        pixels += random.normal(0, noise, pixels.shape) if noise > 1 else 0
        lit = np.rot90(np.clip(pixels, 0, 255).astype(np.uint8), quarter_turns)
        images.append(_encode(lit, quality))
        faces.append(
            tuple(
                Face(
                    head.number,
                    np.rot90(seen, quarter_turns),
                    float(seen.sum() / whole) if whole else 0.0,
                    head.height_px(step),
                )
                for head, seen, whole in cores
            )
        )
    times_ns = np.arange(steps, dtype=np.int64) * (1_000_000_000 // RATE_HZ)
    return Scene(tuple(images), tuple(faces), times_ns)


class _Head:
    """One person who moves through a scene."""

    def __init__(
        self,
        number: int,
        photos: Sequence[Image.Image],
        random: np.random.Generator,
        steps: int,
        distances_m: tuple[float, float],
    ) -> None:
        self.number = number
        self.distance_m = float(np.exp(random.uniform(*np.log(distances_m))))
        approach = random.uniform(-0.4, 0.4) / RATE_HZ
        last = np.clip(self.distance_m + approach * steps, *distances_m)
        self._distances = np.linspace(self.distance_m, last, steps)
        self._photos = [photos[i] for i in random.permutation(len(photos))]
        self._change = int(random.integers(4, 10))  # steps for each photograph
        self._tint = np.array(_TINTS[random.integers(len(_TINTS))], np.float32)
        self._cloth: Any = tuple(int(c) for c in random.integers(20, 230, 3))
        speed = random.uniform(-0.8, 0.8) / RATE_HZ
        half = WIDTH / 2 / _FOCAL_PX * self.distance_m
        if random.random() < 0.4:  # comes in from a side
            side = -1.0 if speed >= 0 else 1.0
            begin = side * (half + 0.05)
            speed = -side * max(abs(speed), 0.35 / RATE_HZ)
        else:
            begin = random.uniform(-0.7, 0.7) * half
        sway = random.uniform(0, 0.05)
        phase, rate = random.uniform(0, 6), random.uniform(0.1, 0.5)
        steps_ = np.arange(steps)
        self._x_m = begin + speed * steps_ + sway * np.sin(phase + rate * steps_)
        height = random.uniform(-0.45, 0.25) * HEIGHT / _FOCAL_PX * self.distance_m
        self._y_m = height + 0.4 * sway * np.cos(phase + rate * steps_)
        self._roll = random.uniform(-25, 25) + random.uniform(0, 15) * np.sin(
            phase + 0.2 * steps_
        )
        self._speed_m = speed

    def height_px(self, step: int) -> float:
        return float(_FOCAL_PX * _PHOTO_M / self._distances[step])

    def draw(
        self, image: Image.Image, step: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], float]:
        """Draws it; returns where features and head are seen, and the whole area."""
        height = self.height_px(step)
        width = height * self._photos[0].width / self._photos[0].height
        scale = _FOCAL_PX / self._distances[step]
        x = WIDTH / 2 + scale * self._x_m[step]
        y = HEIGHT / 2 + scale * self._y_m[step]
        size = (max(2, round(width)), max(2, round(height)))
        number, part = divmod(step, self._change)
        first = self._photos[number % len(self._photos)]
        second = self._photos[(number + 1) % len(self._photos)]
        # The last two steps of a photograph fade into the next one.
        fade = max(0.0, (part - self._change + 3) / 3)
        grey = np.asarray(Image.blend(first, second, fade), np.float32)
        tinted = Image.fromarray(
            np.clip(grey[..., None] * self._tint * 1.25, 0, 255).astype(np.uint8)
        ).resize(size, Image.Resampling.BOX if height < 112 else 2)
        blur = float(min(3.0, 0.15 * abs(self._speed_m) * scale))
        if blur > 0.4:
            tinted = tinted.filter(ImageFilter.GaussianBlur(blur))
        shapes = [_ellipse(size, part_) for part_ in (_HEAD, _CORE)]
        head_mask = shapes[0].filter(ImageFilter.GaussianBlur(max(0.6, height / 60)))
        body = (x - width, y + height * 0.42, x + width, y + height * 3)
        covers = Image.new("L", (WIDTH, HEIGHT))
        for drawn, fill in ((image, self._cloth), (covers, 255)):
            ImageDraw.Draw(drawn).rounded_rectangle(body, width * 0.4, fill)
        roll = float(self._roll[step])
        turned = [
            one.rotate(roll, Image.Resampling.BILINEAR, expand=True)
            for one in (tinted, head_mask, shapes[1])
        ]
        at = (round(x - turned[0].width / 2), round(y - turned[0].height / 2))
        image.paste(turned[0], at, turned[1])
        seen = Image.new("L", (WIDTH, HEIGHT))
        seen.paste(turned[2], at)
        covers.paste(255, at, turned[1])
        whole = float((np.asarray(turned[2]) > 127).sum())
        return np.asarray(seen) > 127, np.asarray(covers) > 127, whole


def _ellipse(size: tuple[int, int], part: tuple[float, ...]) -> Image.Image:
    x, y, across, down = part
    mask = Image.new("L", size)
    w, h = size
    ImageDraw.Draw(mask).ellipse(
        ((x - across) * w, (y - down) * h, (x + across) * w, (y + down) * h), fill=255
    )
    return mask


def _make_bar(random: np.random.Generator) -> tuple[int, int, Any] | None:
    """A post in front of everything, in a third of the scenes: left, right, colour."""
    if random.random() > 0.33:
        return None
    left = int(random.integers(40, WIDTH - 100))
    colour = tuple(int(c) for c in random.integers(10, 240, 3))
    return left, left + int(random.integers(15, 60)), colour


def _draw_bar(image: Image.Image, bar: tuple[int, int, Any]) -> npt.NDArray[np.bool_]:
    left, right, colour = bar
    ImageDraw.Draw(image).rectangle((left, 0, right, HEIGHT), fill=colour)
    covered = np.zeros((HEIGHT, WIDTH), np.bool_)
    covered[:, left : right + 1] = True
    return covered


def _encode(pixels: Pixels, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
