"""Every door by which a private value could leave a robot, for tests that try them.

Each `Door` changes an episode that may leave, or what is said about it, so that it
holds a private value that a wrong program or an unlucky setting would put there.
`smuggle` makes everything else agree, so that only a look at the values finds it: the
digest is right, the record covers every field, and whoever tests signs it with the
robot's key.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from base import text_forms
from rlds import blank_picture, example_codec, protobuf, tfrecord
from rlds.episode import Episode
from rlds.redaction_record import (
    DrawnPictures,
    Looked,
    PictureMasks,
    RedactionRecord,
)
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import (
    FIELDS,
    IMAGE_DETECTORS,
    MASKS_VERSION,
    TRANSFORM_VERSION,
    EpisodeSpec,
    age_field,
    picture_field,
)
from rlds.testing import episodes

COVERED = tuple(sorted(field.name for field in FIELDS if field.sensitive))
MASKS = PictureMasks(
    MASKS_VERSION,
    0,
    {
        "faces": Looked("centerface", "1.5.0", 300, 150),
        "plates": Looked("ppocr-text", "1.2.3", 500, 300),
    },
)
RECORD = RedactionRecord(
    TRANSFORM_VERSION,
    dict.fromkeys(IMAGE_DETECTORS, "ef" * 32),
    COVERED,
    0,
    True,
    MASKS,
)
"""What a robot says of an episode that it redacted, with pictures or without."""

SIMULATED_ARM: dict[str, Any] = {
    "environment_id": "so101-camera-0.4.0",
    "robot_model": "so101",
    "tags": ("simulated",),
}
"""How the episodes of a simulated robot that draws its pictures name themselves."""
_UNMASKED: dict[str, Any] = {
    "detectors": {},
    "pictures": None,
    "drawn": DrawnPictures("so101-camera", ("front",), 0),
}

_UNIX_NS = 1_767_254_472_123_456_789  # 2026-01-01T08:01:12.123456789Z


@dataclasses.dataclass(frozen=True)
class Door:
    """One way to let a private value out.

    Attributes:
        name: what is tried.
        secret: the private value; no message may repeat it.
        episode: changes the episode.
        framed: changes the bytes of the episode's file.
        record: changes the redaction record.
        said: fields of the sidecar that are replaced.
    """

    name: str
    secret: str = "Ada"
    episode: Callable[[Episode], Episode] = lambda found: found
    framed: Callable[[bytes], bytes] = lambda framed: framed
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    said: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def smuggle(door: Door, found: Episode, sidecar: Sidecar) -> tuple[bytes, Sidecar]:
    """Returns the file of an episode that went through a door, and its sidecar.

    Args:
        door: what is tried.
        found: an episode that may leave its robot.
        sidecar: what its robot says about it; not yet signed.
    """
    changed = door.episode(found)
    framed = door.framed(tfrecord.frame(example_codec.encode(changed)))
    own = changed.metadata
    agreed = dataclasses.replace(
        sidecar,
        episode_id=own.episode_id,
        sha256=hashlib.sha256(framed).hexdigest(),
        size_bytes=len(framed),
        num_steps=changed.num_steps,
        date=own.start_time[:10],
        package_digest=own.package_digest,
        delta_digest=own.delta_digest,
        software=own.software_version,
        privacy=dataclasses.replace(RECORD, **door.record),
    )
    return framed, dataclasses.replace(agreed, **door.said)


def write_text(name: str, value: str | tuple[str, ...], secret: str = "Ada") -> Door:
    """Returns the door that writes this value into a field of the whole episode."""

    def change(found: Episode) -> Episode:
        fields: dict[str, Any] = {name: value}
        return dataclasses.replace(
            found, metadata=dataclasses.replace(found.metadata, **fields)
        )

    return Door(f"{name}={value}", secret, change)


def set_steps(**values: Callable[[Any], Any]) -> Callable[[Episode], Episode]:
    """Returns the change that computes step fields from what they were.

    In the names of the fields `__` stands for `/`.
    """

    def change(found: Episode) -> Episode:
        steps = dict(found.steps)
        for key, compute in values.items():
            name = key.replace("__", "/")
            steps[name] = compute(steps[name])
        return dataclasses.replace(found, steps=steps)

    return change


def see(image: bytes) -> Callable[[Episode], Episode]:
    """Returns the change that adds a camera, each of whose pictures is `image`."""

    def change(found: Episode) -> Episode:
        spec = dataclasses.replace(found.spec, image=True)
        images = (image,) * found.num_steps
        return Episode(
            spec, found.metadata, {**found.steps, "observation/image": images}
        )

    return change


def make_picture(width: int, height: int) -> bytes:
    """Returns a dark grey picture of a size that is none of those that are dropped."""
    black, table = blank_picture.make(width, height), b"\xff\xdb\x00\x43\x00"
    return black.replace(table + b"\xff", table + b"\xfe", 1)


def watch(
    cameras: tuple[str, ...] = ("front",),
    image: bytes | None = None,
    unnamed: bool = False,
    **named: Any,
) -> Callable[[Episode], Episode]:
    """Returns the change into an episode of a simulated arm that draws its pictures.

    Args:
        cameras: names of its cameras.
        image: what each of them sees; None for what such an arm draws.
        unnamed: whether there is a camera without a name besides.
        **named: what the episode says of itself, in the place of `SIMULATED_ARM`.
    """
    seen = make_picture(64, 64) if image is None else image

    def change(found: Episode) -> Episode:
        spec = dataclasses.replace(found.spec, image=unnamed, cameras=cameras)
        metadata = dataclasses.replace(found.metadata, **{**SIMULATED_ARM, **named})
        steps = dict(found.steps)
        for field in spec.picture_fields:
            steps[field] = (seen,) * found.num_steps
        for camera in cameras:
            steps[age_field(camera)] = np.zeros(found.num_steps, np.int64)
        return Episode(spec, metadata, steps)

    return change


DRAWN = Door("drawn pictures of a simulated arm", episode=watch(), record=_UNMASKED)
"""What is no door: nobody is in such pictures, and they leave as they are."""
DRAWN_AND_MASKED = Door(
    "pictures of a simulated arm that are masked all the same",
    episode=watch(),
    record={"fields_covered": (*COVERED, picture_field("front"))},
)


def hear(sound: Callable[[int], Any]) -> Callable[[Episode], Episode]:
    """Returns the change that adds what a microphone gave: `sound(t)`, f32 [t m]."""

    def change(found: Episode) -> Episode:
        values = np.asarray(sound(found.num_steps), np.float32)
        spec = dataclasses.replace(found.spec, audio_size=values.shape[1])
        return Episode(
            spec, found.metadata, {**found.steps, "observation/audio_mel": values}
        )

    return change


def segment(marker: int, content: bytes) -> bytes:
    """Returns the smallest JPEG image with one more segment before its pixels."""
    raw = bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content
    return episodes.JPEG[:2] + raw + episodes.JPEG[2:]


def _pad_length(framed: bytes) -> bytes:
    """Writes the length of the outermost message in more bytes than it needs."""
    (record,) = tfrecord.read_records(framed, 1 << 28)
    length = record[1 : len(record) - len(_payload(record))]
    padded = length[:-1] + bytes([length[-1] | 0x80, 0x80, 0x00])
    return tfrecord.frame(record[:1] + padded + _payload(record))


def _add_empty_part(framed: bytes) -> bytes:
    """Adds a part without features, of which a reader sees nothing."""
    (record,) = tfrecord.read_records(framed, 1 << 28)
    return tfrecord.frame(record + protobuf.encode_bytes_field(1, b""))


def _add_feature(framed: bytes) -> bytes:
    """Adds a text under a name that the table of fields does not have."""
    (record,) = tfrecord.read_records(framed, 1 << 28)
    text = protobuf.encode_bytes_field(1, b"Ada was here")
    entry = protobuf.encode_bytes_field(1, b"notes") + protobuf.encode_bytes_field(
        2, protobuf.encode_bytes_field(1, text)
    )
    more = protobuf.encode_bytes_field(1, entry)
    return tfrecord.frame(record + protobuf.encode_bytes_field(1, more))


def _payload(record: bytes) -> bytes:
    ((_, _, payload),) = protobuf.read_fields(memoryview(record))
    return bytes(payload)


def _voice(steps: int) -> Any:  # noqa: ANN401 - an array
    """800 samples in each step: 16 kHz at 20 steps a second."""
    return np.sin(np.arange(steps * 800, dtype=np.float32)).reshape(steps, 800)


def _look(what: str, name: str, version: str) -> PictureMasks:
    looked = {**MASKS.looked, what: Looked(name, version, 300, 150)}
    return dataclasses.replace(MASKS, looked=looked)


_SAYS_WHEN = text_forms.format_uuid7(1_767_254_472_123, bytes(10))

DOORS: tuple[Door, ...] = (
    # Where the robot is, when it ran, whose it is.
    write_text("location", "52.516275,13.377704", "52.516275"),
    write_text("location", "1 Main Street", "Main"),
    write_text("start_time", "2026-01-31T08:41:12Z", "08:41:12"),
    write_text("episode_id", _SAYS_WHEN, "1767254472"),
    write_text("tags", ("simulated", "Ada Lovelace")),
    write_text("tags", ("operator:ada",), "ada"),
    # Free text in any other place.
    write_text("task", "bring Ada her insulin"),
    write_text("task", "call 0151-2345678", "2345678"),
    write_text("task", "drive to 52.516275 13.377704", "516275"),
    write_text("task", "reach-v3 AdaLovelace"),
    write_text("robot_model", "Ada_Lovelace"),
    write_text("robot_model", "sawyer-52.516275", "516275"),
    write_text("environment_id", "kitchen-of-ada.lovelace", "lovelace"),
    write_text("environment_id", "52.516275/13.377704", "516275"),
    write_text("environment_id", "2026-01-31T08:41:12", "08:41:12"),
    write_text("environment_id", "kitchen-8:41:12", "8:41:12"),
    write_text("channel", "ada"),
    write_text("software_version", "0.1.0+ada", "ada"),
    write_text("software_version", "20260131084112", "084112"),
    write_text("operator", "Ada"),
    # Times of the steps that are a calendar's, or count from the robot's last start.
    Door(
        "steps stamped with the time of day",
        "1767254472",
        set_steps(t_monotonic_ns=lambda times: times - times[0] + _UNIX_NS),
    ),
    Door(
        "steps stamped with the time since the robot started",
        "98765",
        set_steps(t_monotonic_ns=lambda times: times - times[0] + 98_765),
    ),
    Door(
        "time of day from the second step on",
        "1767254472",
        set_steps(t_monotonic_ns=lambda times: times + _UNIX_NS * (times > times[0])),
    ),
    # Pictures and sound.
    Door("voice as samples", "", hear(_voice)),
    Door(
        "voice in fine bands",
        "",
        hear(lambda t: np.arange(t * 40).reshape(t, 40) % 7 * 2.0),
    ),
    Door(
        "voice in coarse bands at every step",
        "",
        hear(lambda t: np.arange(t * 4).reshape(t, 4) % 7 * 2.0),
    ),
    Door("voice in fine powers", "", hear(lambda t: np.full((t, 4), 0.5))),
    Door("picture with a comment", "Ada", see(segment(0xFE, b"taken by Ada"))),
    Door("picture with a reserved segment", "Ada", see(segment(0xF0, b"Ada"))),
    Door("picture with an old segment", "Ada", see(segment(0x02, b"Ada"))),
    Door("picture with a long table", "Ada", see(segment(0xDB, b"\2" + b"Ada" * 99))),
    Door("picture with a long interval", "Ada", see(segment(0xDD, b"\0\0Ada"))),
    Door(
        "picture with more tables than it uses",
        "Ada",
        see(segment(0xDB, (b"\2" + b"Ada!" * 16) * 999)),
    ),
    Door(
        "picture in which nobody looked for faces",
        "",
        see(episodes.JPEG),
        record={"detectors": {"plates": "ef" * 32}},
    ),
    Door(
        "picture of which nobody says how it was masked",
        "",
        see(episodes.JPEG),
        record={"pictures": None},
    ),
    Door(
        "picture that is said to be dropped and is not black",
        "",
        see(episodes.JPEG),
        record={"pictures": dataclasses.replace(MASKS, frames_dropped=1)},
    ),
    Door("dropped picture of which nobody says so", "", see(blank_picture.make(8, 8))),
    # Pictures of a camera that are said to be drawn, and so are not masked.
    Door(
        "camera of a robot that exists, said to be drawn",
        "",
        watch(tags=()),
        record=_UNMASKED,
    ),
    Door(
        "camera of another simulated robot, said to be drawn",
        "",
        watch(environment_id="so101-sim-0.4.0"),
        record=_UNMASKED,
    ),
    Door(
        "camera in a kitchen, said to be drawn",
        "",
        watch(environment_id="kitchen", robot_model="sawyer"),
        record=_UNMASKED,
    ),
    Door(
        "camera of an arm of another make, said to be drawn",
        "",
        watch(robot_model="sawyer"),
        record=_UNMASKED,
    ),
    Door(
        "camera beside a drawn one",
        "",
        watch(("front", "wrist")),
        record=_UNMASKED | {"fields_covered": (*COVERED, picture_field("wrist"))},
    ),
    Door(
        "camera beside a drawn one, said to be drawn as well",
        "",
        watch(("front", "wrist")),
        record=_UNMASKED
        | {"drawn": DrawnPictures("so101-camera", ("front", "wrist"), 0)},
    ),
    Door(
        "camera without a name beside a drawn one",
        "",
        watch(unnamed=True),
        record=_UNMASKED,
    ),
    Door(
        "camera without a name, said to be drawn",
        "",
        watch((), unnamed=True),
        record=_UNMASKED | {"drawn": DrawnPictures("so101-camera", (), 0)},
    ),
    Door(
        "camera in the place of the drawn one",
        "",
        watch(("wrist",)),
        record=_UNMASKED | {"drawn": DrawnPictures("so101-camera", ("wrist",), 0)},
    ),
    Door(
        "pictures of a camera's size, said to be drawn",
        "",
        watch(image=make_picture(320, 240)),
        record=_UNMASKED,
    ),
    Door(
        "pictures that are drawn and masked",
        "",
        watch(),
        record={
            "drawn": _UNMASKED["drawn"],
            "fields_covered": (*COVERED, picture_field("front")),
        },
    ),
    Door("pictures of no camera that are drawn", "", record=_UNMASKED),
    Door(
        "simulator that is a person",
        episode=watch(),
        record=_UNMASKED | {"drawn": DrawnPictures("Ada", ("front",), 0)},
    ),
    Door(
        "drawn camera that is a person",
        episode=watch(),
        record=_UNMASKED | {"drawn": DrawnPictures("so101-camera", ("Ada",), 0)},
    ),
    Door(
        "simulator in a version that is a person",
        episode=watch(environment_id="so101-camera-Ada"),
        record=_UNMASKED,
    ),
    Door(
        "drawn pictures, of which more are dropped than are black",
        "",
        watch(),
        record=_UNMASKED | {"drawn": DrawnPictures("so101-camera", ("front",), 1)},
    ),
    # What is said about the episode.
    Door(
        "detector with the name of a person",
        record={"pictures": _look("faces", "Ada", "1.5.0")},
    ),
    Door(
        "weights of a person's own version",
        record={"pictures": _look("faces", "centerface", "Ada-1")},
    ),
    Door(
        "masks named after a person",
        record={"pictures": dataclasses.replace(MASKS, version="Ada-1")},
    ),
    Door(
        "something to look for that is a person",
        record={"pictures": _look("Ada", "centerface", "1.5.0")},
    ),
    Door("detector named after a person", record={"detectors": {"Ada": "ef" * 32}}),
    Door("transforms named after a person", record={"transform_version": "Ada-1"}),
    Door("covered field that is none", record={"fields_covered": (*COVERED, "Ada")}),
    Door(
        "covered field twice",
        "",
        record={"fields_covered": (*COVERED, COVERED[0])},
    ),
    Door("person who consents", said={"consent": Consent(True, "Ada", "")}),
    Door(
        "consent to the second",
        "08:41:12",
        said={"consent": Consent(True, "operator", "2026-01-31T08:41:12Z")},
    ),
    Door("escalation without a violation", "", said={"safety": Safety(0, True)}),
    # Bytes that no reader looks at.
    Door("length in more bytes than it needs", "", framed=_pad_length),
    Door("part without content", "", framed=_add_empty_part),
    Door("feature that is not in the table", framed=_add_feature),
    Door("second record", framed=lambda framed: framed + tfrecord.frame(b"Ada")),
)


def harmless() -> Episode:
    """Returns an episode in the form in which it may leave its robot."""
    plain = episodes.episode(EpisodeSpec(3, 2), tags=("simulated",))
    times = plain.steps["t_monotonic_ns"]
    steps = {
        **plain.steps,
        "t_monotonic_ns": times - times[0],
        "safety_violation": np.zeros_like(plain.steps["safety_violation"]),
    }
    return dataclasses.replace(plain, steps=steps)
