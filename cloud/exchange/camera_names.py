"""Names of other people's cameras in words of `rlds.spec.CAMERA_WORDS`; pure.

A name of a camera leaves a robot with its pictures, so it comes from a closed list of
words. What a name has in other words is left out: `observation/wrist_image` becomes
`wrist`, `observation.images.cam_high` stays `cam_high`. The one camera whose name says
nothing has none here either, as `observation/image`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from rlds.spec import CAMERA_WORDS, MAX_CAMERAS, picture_field

_PARTS: Final = re.compile(r"[a-z]+|[0-9]+")
_PATH: Final = re.compile(r"[/.]")
_SAYS_NOTHING: Final = "image"
_FALLBACK: Final = "camera"
_MOST_WORDS: Final = 4


def name_cameras(features: Sequence[str]) -> dict[str, str]:
    """Returns our name of each camera, by the name of its feature.

    Args:
        features: of the pictures, in the order of the source. Of those that would have
            the same name the later ones get a number.

    Returns:
        "" for the one without a name. Cameras beyond `MAX_CAMERAS` are not in it.
    """
    found: dict[str, str] = {}
    for feature in features:
        taken = set(found.values())
        name = next((one for one in _propose(feature) if one not in taken), None)
        if name is not None and len(taken - {""}) + bool(name) <= MAX_CAMERAS:
            found[feature] = name
    return found


def is_renamed(feature: str, name: str) -> bool:
    """Whether a source calls a camera otherwise than it is called here."""
    last = _PATH.split(feature)[-1]
    ours = _PATH.split(picture_field(name))[-1]
    return last not in (name, ours)


def _propose(feature: str) -> Iterator[str]:
    """Yields names for a camera, the best one first."""
    parts: list[str] = _PARTS.findall(feature.lower())
    words = [one for one in parts if one in CAMERA_WORDS and one != _SAYS_NOTHING]
    digits = [one for one in parts if len(one) == 1 and one.isdigit()]
    if not words and not digits:
        yield ""
    name = "_".join(words[-_MOST_WORDS:]) or _FALLBACK
    if digits:
        yield f"{name}_{digits[-1]}"
    else:
        yield name
    for number in range(2, 10):
        yield f"{name}_{number}"
