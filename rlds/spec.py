"""The table of all fields of an episode: content, unit and privacy.

The codec, the writer, the TFDS features, the redaction and the check of values are
derived from `FIELDS`. A sensitive field leaves the robot only after its transform (see
`edge/redact/`), and only in the form that the table gives it (`rlds/redacted_form.py`).
"""

import dataclasses
import datetime
import enum
import functools
from typing import Literal, get_args

SCHEMA_VERSION = "0.1.0"

Scope = Literal["step", "episode"]
Dtype = Literal["float32", "int64", "bool", "string", "jpeg"]
# `rlds.redacted_form` says what each form allows.
Form = Literal[
    "actor",
    "channel",
    "coarse_sound",
    "digest",
    "digest_or_empty",
    "discount",
    "flag",
    "grid_cell_or_empty",
    "hour",
    "known_name",
    "known_tags",
    "known_words",
    "numbers",
    "outcome",
    "picture_age",
    "plain_jpeg",
    "schema_version",
    "time_from_zero",
    "uuid7_of_an_hour",
    "version",
]

# These limits bound what a reader allocates; the writer refuses larger episodes, and a
# robot's recorder cuts them into episodes that follow each other.
MAX_CHANNELS = 65_536
MAX_STEPS = 4_194_304

# No episode is older than this format; simulated robots begin on this day.
FIRST_DATE = "2026-01-01"
# How far two right clocks may be apart: more is no time zone, and one is wrong.
CLOCK_TOLERANCE = datetime.timedelta(days=1)


class StopRule(enum.Enum):
    """The rules by which a robot stops in the middle of an episode.

    The last step of an episode that a rule ended has `safety_violation`, and the
    episode has the rule's tag.
    """

    NON_FINITE_ACTION = "non_finite_action"  # the action was not a number
    ACTION_LIMIT = "action_limit"  # the proposed action was far outside its limits
    ACTION_RATE = "action_rate"  # it was far from the action before it
    WORKSPACE = "workspace"  # the robot was outside the box in which it may be
    LATE_IN_A_ROW = "late_in_a_row"  # too many late steps, one after the other
    LATE_SHARE = "late_share"  # too many late steps among the last hundred
    WATCHDOG = "watchdog"  # a step did not end, and the watchdog held the robot
    STOP_KEY = "stop_key"  # somebody pressed the stop key, or asked to stop at once

    @property
    def tag(self) -> str:
        """The tag of an episode that this rule ended."""
        return f"stop_{self.value}"


# The package may have been adapted from step to step, so that what acted is not only
# the package and the delta that the episode names. It is said when the episode begins:
# no crash leaves an adapted step without it.
FAST_LOOP_TAG = "fast_loop"

# What the operator did to an episode after it was recorded (`edge/episodes/amend.py`).
# No tag says more of who it was: the operator is a role, and a person's name stays.
LABELLED_TAG = "labelled_by_operator"
LEFT_OUT_TAG = "left_out_by_operator"
TRIMMED_TAG = "trimmed_by_operator"

# A camera was gone, or stood still, in a part of the episode. The age of each picture
# says when.
CAMERA_TAG = "camera_stood_still"
# A microphone was gone, silent or stood still in a part of the episode. Where it gave
# no sound, that of the step is zeros.
MICROPHONE_TAG = "microphone_stood_still"

# The robot exists only as a program. Its recorder says so, whatever the operator says.
SIMULATED_TAG = "simulated"

# Tags that say nothing about people or places. All others stay on the robot.
KNOWN_TAGS = frozenset(
    {CAMERA_TAG, "demonstration", FAST_LOOP_TAG, "recovered", "rollout", SIMULATED_TAG}
    | {LABELLED_TAG, LEFT_OUT_TAG, MICROPHONE_TAG, TRIMMED_TAG}
    | {rule.tag for rule in StopRule}
)

# The transforms of `edge/redact/` as a whole; a redaction record names no other ones.
TRANSFORM_VERSION = "numeric-2"
# What is looked for in every picture before it may leave: a record names the weights
# that looked for each, and nothing else.
IMAGE_DETECTORS = ("faces", "plates")
# What may be looked for besides: screens and paper with text.
OPTIONAL_DETECTORS = ("pages",)
# The names that a detector of any of these can have, and how boxes become masks
# (`edge/redact/tracks.py`); a record names no other ones.
DETECTOR_NAMES = ("centerface", "ppocr-text")
MASKS_VERSION = "masks-1"

# Sound that leaves a robot: at most so many bands, in powers of whole steps, each of
# which holds for at least so long. Nobody who listens understands a sentence of which
# the powers vary at less than 2 Hz (Drullman, Festen and Plomp 1994, J. Acoust. Soc.
# Am. 95, 1053 and 2670). A program that knows the voice and a list of 40 words may
# find a word that is said alone: 14 % of them so, and 80 % in 8 bands, twice a second,
# in steps of 0.5 (docs/decisions/0020-what-a-robot-hears.md).
SOUND_BANDS = 4
SOUND_STEP = 2.0  # natural logarithm of the power: a factor of 7.4
SOUND_HOLD_NS = 1_000_000_000

# An episode is shorter: a robot's recorder cuts them at 64 MiB.
MAX_EPISODE_NS = 24 * 3600 * 1_000_000_000

# What the names of cameras are made of, joined by `_`, with one digit at the end if
# need be. A name is in the name of a field, so it leaves the robot as it is: like tags
# it comes from a closed list, and no name of a person or a room can be in it.
_CAMERA_WORDS = """
    arm base body bottom cam camera center chest depth down ego exterior eye far feet
    floor front gripper hand head high image infrared laptop left low main middle near
    outside overhead phone primary rear right robot room scene secondary shoulder side
    static table third top tripod up video view wide workspace wrist
"""
CAMERA_WORDS = frozenset(_CAMERA_WORDS.split())
MAX_CAMERAS = 8
_MAX_CAMERA_WORDS = 4
NO_PICTURE_AGE = -1
"""The age of a picture that is not there: a black one stands in its place."""
_PICTURE = "observation/image"
PICTURE_PREFIX = f"{_PICTURE}_"
"""What the fields of the pictures of named cameras begin with."""
_AGE = "image_age_ns"


def check_camera_name(name: object) -> None:
    """Checks the name of a camera, such as `front` or `left_wrist_2`.

    Raises:
        ValueError: it is not made of words of `CAMERA_WORDS`.
    """
    words = name.split("_") if isinstance(name, str) else []
    if len(words) > 1 and len(words[-1]) == 1 and words[-1] in "0123456789":
        words = words[:-1]
    if not 1 <= len(words) <= _MAX_CAMERA_WORDS or not CAMERA_WORDS.issuperset(words):
        raise ValueError(
            f"the name of a camera: expected up to {_MAX_CAMERA_WORDS} words joined by"
            f" _, such as front or left_wrist_2, of {', '.join(sorted(CAMERA_WORDS))};"
            f" got {name!r}"
        )


def picture_field(camera: str) -> str:
    """The step field of the pictures of a camera, by its name; "" for one without."""
    return PICTURE_PREFIX + camera if camera else _PICTURE


def age_field(camera: str) -> str:
    """The step field that says how old the pictures of a named camera are."""
    return f"{_AGE}_{camera}"


@dataclasses.dataclass(frozen=True)
class Field:
    """One row of the table.

    Attributes:
        name: name in TFDS, below `steps/` for step fields.
        scope: `step` for one value per step, or `episode` for one per episode.
        shape: sizes, or the letters N (state), A (action), M (audio), T (tags).
        dtype: type of one element.
        unit: unit of one element; "" if it has none.
        sensitive: whether it may reveal who or where a person is.
        transform: name of the transform that makes it safe; None if not sensitive.
        form: what a value looks like once it may leave the robot.
        doc: description.

    Raises:
        ValueError: it is sensitive without a transform, or has one without being it.
            A field that is added so stops every program and every test.
    """

    name: str
    scope: Scope
    shape: tuple[int | str, ...]
    dtype: Dtype
    unit: str
    sensitive: bool
    transform: str | None
    form: Form
    doc: str

    def __post_init__(self) -> None:
        if self.sensitive is not bool(self.transform):
            raise ValueError(f"{self.name}: a transform if it is sensitive, else none")
        if self.form not in get_args(Form):
            raise ValueError(f"{self.name}: a form, got {self.form!r}")


def _step(
    name: str,
    shape: tuple[int | str, ...],
    dtype: Dtype,
    doc: str,
    form: Form,
    unit: str = "",
    transform: str | None = None,
) -> Field:
    return Field(
        name, "step", shape, dtype, unit, transform is not None, transform, form, doc
    )


def _episode(
    name: str,
    doc: str,
    form: Form,
    transform: str | None = None,
    dtype: Dtype = "string",
    shape: tuple[int | str, ...] = (),
) -> Field:
    return Field(
        name, "episode", shape, dtype, "", transform is not None, transform, form, doc
    )


# Names, units and descriptions are written to each dataset's features.json, which must
# stay byte for byte the same for this schema version. That is why the recorded field
# that says who acted is called `operator`, although everywhere else the operator is
# the person who consents and whoever acts is the actor.
FIELDS: tuple[Field, ...] = (
    _step(
        "observation/state",
        ("N",),
        "float32",
        "Robot state.",
        "numbers",
        unit="robot's own",
    ),
    _step(
        "observation/image",
        (),
        "jpeg",
        "Camera image, encoded as JPEG; optional.",
        "plain_jpeg",
        transform="mask_faces_and_plates",
    ),
    _step(
        "observation/audio_mel",
        ("M",),
        "float32",
        "Log-mel features of the sound since the last step; optional.",
        "coarse_sound",
        unit="log power",
        transform="log_mel",
    ),
    _step(
        "action",
        ("A",),
        "float32",
        "Action that was executed.",
        "numbers",
        unit="robot's own",
    ),
    _step(
        "proposed_action",
        ("A",),
        "float32",
        "Action that policy or operator proposed, before the safety limits.",
        "numbers",
        unit="robot's own",
    ),
    _step("reward", (), "float32", "Reward of the action.", "numbers"),
    _step(
        "discount",
        (),
        "float32",
        "Discount of what follows, 0 to 1.",
        "discount",
    ),
    _step("is_first", (), "bool", "Whether this is the first step.", "flag"),
    _step("is_last", (), "bool", "Whether this is the last step.", "flag"),
    _step(
        "is_terminal",
        (),
        "bool",
        "Whether the task ended here, not just the time.",
        "flag",
    ),
    # A robot's clock counts from its last start, or from 1970: both tell when an
    # episode was, to the second, and which episodes belong together.
    _step(
        "t_monotonic_ns",
        (),
        "int64",
        "Time of the observation.",
        "time_from_zero",
        unit="ns",
        transform="time_since_first_step",
    ),
    _step(
        "deadline_missed",
        (),
        "bool",
        "Whether the control period was overrun.",
        "flag",
    ),
    _step(
        "safety_violation",
        (),
        "bool",
        "Whether a stop rule fired, or the proposed action was not finite.",
        "flag",
    ),
    _step(
        "intervention",
        (),
        "bool",
        "Whether a person acted, in the place of the policy that proposed; optional.",
        "flag",
    ),
    _episode("schema_version", "Version of this table.", "schema_version"),
    _episode(
        "episode_id", "UUID of version 7, the episode's name.", "uuid7_of_an_hour"
    ),
    _episode("robot_hash", "Keyed hash of the robot's id.", "digest", "keyed_hash"),
    # Names are chosen by whoever sets the robot up, and a task is what they told it.
    # Both are what a model learns from, so they leave the robot, but in words of a
    # closed list only (`rlds/known_words.py`).
    _episode("robot_model", "Make of the robot.", "known_name", "known_words"),
    _episode("environment_id", "What the robot acted in.", "known_name", "known_words"),
    _episode(
        "package_digest",
        "SHA-256 of the package that acted, or empty.",
        "digest_or_empty",
    ),
    _episode(
        "delta_digest",
        "SHA-256 of the local delta in force, or empty.",
        "digest_or_empty",
    ),
    _episode("channel", "Channel that the package came from, or empty.", "channel"),
    _episode("software_version", "Version of the robot's runtime.", "version"),
    _episode("start_time", "RFC 3339 time of the begin.", "hour", "coarse_time"),
    _episode(
        "location", "Coarse place, or empty.", "grid_cell_or_empty", "coarse_location"
    ),
    _episode("tags", "Notes.", "known_tags", "allow_list", shape=("T",)),
    _episode("task", "Name of the task.", "known_words", "known_words"),
    _episode(
        "success", "1 success, 0 failure, -1 not known.", "outcome", dtype="int64"
    ),
    _episode("operator", "Who acted: expert, human or policy:<digest12>.", "actor"),
)


def camera_fields(name: str) -> tuple[Field, Field]:
    """The step fields of a named camera: its newest picture, and the age of that.

    The picture is what `observation/image` is. A picture that a step holds was taken
    before its observation: each camera has a rate of its own, and the newest picture
    is held. The age says nothing of when an episode was.
    """
    (picture,) = (field for field in FIELDS if field.name == _PICTURE)
    return (
        dataclasses.replace(
            picture,
            name=picture_field(name),
            doc=f"Newest picture of the camera {name}, encoded as JPEG.",
        ),
        _step(
            age_field(name),
            (),
            "int64",
            f"Time from the newest picture of the camera {name} to the observation;"
            f" {NO_PICTURE_AGE} if it has none, and the picture is black.",
            "picture_age",
            unit="ns",
        ),
    )


@dataclasses.dataclass(frozen=True)
class EpisodeSpec:
    """The sizes that complete the table for the episodes of one robot.

    Attributes:
        state_size: N, length of `observation/state`.
        action_size: A, length of an action.
        image: whether each step has a picture of a camera without a name.
        audio_size: M, length of `observation/audio_mel`; 0 without sound.
        interventions: whether each step says who acted, because somebody could take
            over from the policy.
        cameras: names of the cameras of which each step has a picture, sorted.

    Raises:
        ValueError: a size is out of range, or a camera's name is not of the closed
            list.
    """

    state_size: int
    action_size: int
    image: bool = False
    audio_size: int = 0
    interventions: bool = False
    cameras: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # From JSON it comes as a list.
        object.__setattr__(self, "cameras", tuple(self.cameras))
        for camera in self.cameras:
            check_camera_name(camera)
        if list(self.cameras) != sorted(set(self.cameras)) or (
            len(self.cameras) > MAX_CAMERAS
        ):
            raise ValueError(
                f"cameras: expected at most {MAX_CAMERAS} names, sorted and each once,"
                f" got {self.cameras}"
            )
        for name, size, smallest in (
            ("state_size", self.state_size, 1),
            ("action_size", self.action_size, 1),
            ("audio_size", self.audio_size, 0),
        ):
            if type(size) is not int or not smallest <= size <= MAX_CHANNELS:
                raise ValueError(
                    f"{name}: expected {smallest} to {MAX_CHANNELS}, got {size!r}"
                )
        for name, stated in (
            ("image", self.image),
            ("interventions", self.interventions),
        ):
            if type(stated) is not bool:
                raise ValueError(f"{name}: expected a bool, got {stated!r}")

    def step_fields(self) -> tuple[Field, ...]:
        """Returns the fields of each step, with numeric shapes."""
        return _step_fields(self)

    @property
    def picture_fields(self) -> tuple[str, ...]:
        """Names of the step fields that hold pictures, in the order of their names."""
        return (*((_PICTURE,) if self.image else ()), *map(picture_field, self.cameras))

    def episode_fields(self) -> tuple[Field, ...]:
        """Returns the fields of the episode as a whole."""
        return tuple(field for field in FIELDS if field.scope == "episode")


# A reader asks for them several times for each episode.
@functools.lru_cache(maxsize=256)
def _step_fields(spec: EpisodeSpec) -> tuple[Field, ...]:
    sizes = {"N": spec.state_size, "A": spec.action_size, "M": spec.audio_size}
    absent = set[str]()
    if not spec.image:
        absent.add(_PICTURE)
    if not spec.audio_size:
        absent.add("observation/audio_mel")
    if not spec.interventions:
        absent.add("intervention")
    of_all = tuple(
        dataclasses.replace(
            field, shape=tuple(sizes[str(letter)] for letter in field.shape)
        )
        for field in FIELDS
        if field.scope == "step" and field.name not in absent
    )
    return of_all + tuple(
        field for camera in spec.cameras for field in camera_fields(camera)
    )
