"""Makes a redacted copy of an episode, which may leave the robot.

Which fields are sensitive, and which transform removes that, is written in
`rlds.spec` and nowhere else. A sense that no transform here covers is not in the copy,
and any other such field stops the episode: nothing passes raw. What the transforms made
is looked at once more, value by value, as the uploader and ingest will
(`rlds.redacted_form`).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, Final

import numpy as np

from edge.errors import UncoveredFieldError
from edge.redact import transforms
from edge.redact.masker import Masked, Masker
from rlds import blank_picture
from rlds.episode import Episode, EpisodeMetadata
from rlds.known_words import NO_WORDS
from rlds.redacted_form import check_redacted, has_form
from rlds.redaction_record import DrawnPictures, PictureMasks, RedactionRecord
from rlds.spec import FIELDS, SOUND_BANDS, TRANSFORM_VERSION, EpisodeSpec, Field

MASK_PICTURES: Final = "mask_faces_and_plates"
Transform = Callable[[Any], Any]
StepTransform = Callable[[Any, Mapping[str, Any]], Any]


def shared_spec(spec: EpisodeSpec, pictures: bool) -> EpisodeSpec:
    """Returns the sizes of the copies that leave, of episodes of `spec`.

    They lack sound of so many bands that words could be heard in it, and pictures where
    nothing looks for faces and plates.

    Args:
        spec: of raw episodes.
        pictures: whether pictures leave: there is a masker, or they are drawn.
    """
    hears = spec.audio_size <= SOUND_BANDS
    return dataclasses.replace(
        spec,
        image=spec.image and pictures,
        cameras=spec.cameras if pictures else (),
        audio_size=spec.audio_size if hears else 0,
    )


def find_dropped(spec: EpisodeSpec, pictures: bool) -> tuple[str, ...]:
    """Returns the names of the senses that copies of episodes of `spec` lack."""
    kept = {field.name for field in shared_spec(spec, pictures).step_fields()}
    fields = (field for field in spec.step_fields() if field.sensitive)
    return tuple(field.name for field in fields if field.name not in kept)


def find_hidden(
    metadata: EpisodeMetadata, words: Set[str] = NO_WORDS
) -> tuple[str, ...]:
    """Returns the names of the fields whose text is hidden in copies that leave.

    Args:
        metadata: of a raw episode.
        words: those that the robot has of its own, beside the closed list.
    """
    return tuple(
        field.name
        for field in FIELDS
        if field.transform == "known_words"
        and not has_form(field.name, metadata, words)
    )


def restore_form(episode: Episode) -> Episode:
    """Brings a redacted copy of which steps were cut off into its form again."""
    return dataclasses.replace(episode, steps=transforms.settle_cut(episode.steps))


class Redactor:
    """The transforms of one robot."""

    def __init__(
        self,
        robot_hash: Callable[[str], str],
        words: Set[str] = NO_WORDS,
        masker: Masker | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Redacts episodes of a robot whose key turns its id into `robot_hash(id)`.

        Args:
            robot_hash: the keyed hash of a text.
            words: those that the robot has of its own, beside the closed list.
            masker: masks pictures; None where they are not to leave.
            tell: gets a line about pictures that are dropped.
        """
        self._words = words
        self._masker = masker
        self._tell = tell
        self._transforms: Mapping[str, Transform] = {
            "keyed_hash": robot_hash,
            "coarse_time": transforms.coarsen_time,
            "coarse_location": transforms.coarsen_location,
            "allow_list": transforms.allow_tags,
            "known_words": lambda text: transforms.hide_text(text, robot_hash),
        }
        self._step_transforms: Mapping[str, StepTransform] = {
            "time_since_first_step": transforms.count_from_first_step,
            "log_mel": transforms.coarsen_sound,
        }

    @property
    def transform_names(self) -> frozenset[str]:
        """Names of the transforms, as `rlds.spec` uses them."""
        return frozenset({*self._transforms, *self._step_transforms, MASK_PICTURES})

    def redact(
        self, episode: Episode, drawn_by: str = ""
    ) -> tuple[Episode, RedactionRecord]:
        """Returns a redacted copy and the record of what was done.

        Masking takes a tenth of a second for each picture, in another process.

        Args:
            episode: the raw episode.
            drawn_by: the simulator that drew all of its pictures, which then stay as
                they are; "" for an episode of any camera that exists.

        Raises:
            UncoveredFieldError: a sensitive field has no transform here.
            RedactionError: a value cannot be redacted.
            FieldFormError: a value is not in the form in which it may leave the robot.
        """
        spec = shared_spec(episode.spec, bool(drawn_by) or self._masker is not None)
        sensitive = [
            field
            for field in (*spec.step_fields(), *spec.episode_fields())
            if field.sensitive and not (drawn_by and field.name in spec.picture_fields)
        ]
        uncovered = [
            field.name for field in sensitive if not self._has_transform(field)
        ]
        if uncovered:
            raise UncoveredFieldError(episode.metadata.episode_id, tuple(uncovered))
        hidden = find_hidden(episode.metadata, self._words)
        changes: dict[str, Any] = {}
        steps = {field.name: episode.steps[field.name] for field in spec.step_fields()}
        masked: list[Masked] = []
        for field in sensitive:
            name, transform = field.name, field.transform or ""
            if transform == MASK_PICTURES:
                masked.append(self._mask(episode, name))
                steps[name] = masked[-1].images
            elif field.scope == "step":
                compute = self._step_transforms[transform]
                steps[name] = compute(episode.steps[name], episode.steps)
            elif transform != "known_words" or name in hidden:
                value = getattr(episode.metadata, name)
                changes[name] = self._transforms[transform](value)
        metadata = dataclasses.replace(episode.metadata, **changes)
        redacted = Episode(spec, metadata, steps)
        record = RedactionRecord(
            transform_version=TRANSFORM_VERSION,
            detectors=masked[0].detectors if masked else {},
            fields_covered=tuple(sorted(field.name for field in sensitive)),
            frames_masked=sum(one.frames_masked for one in masked),
            attested=True,
            pictures=_join_masks([one.masks for one in masked]),
            drawn=_describe_drawn(redacted, drawn_by) if drawn_by else None,
        )
        check_redacted(redacted, record, self._words)
        return redacted, record

    def _mask(self, episode: Episode, name: str) -> Masked:
        assert self._masker is not None  # else its copies have no pictures
        masked = self._masker.mask(
            episode.steps[name], np.asarray(episode.steps["t_monotonic_ns"])
        )
        dropped = masked.masks.frames_dropped
        # Where its camera had none, there was nothing to drop.
        if dropped > blank_picture.count(episode.steps[name]):
            self._tell(
                f"{episode.metadata.episode_id}: {dropped} of {episode.num_steps}"
                f" pictures are dropped: {'; '.join(masked.reasons)}"
            )
        return masked

    def _has_transform(self, field: Field) -> bool:
        if field.transform == MASK_PICTURES:
            return self._masker is not None
        of_scope: Mapping[str, object] = (
            self._step_transforms if field.scope == "step" else self._transforms
        )
        return field.transform in of_scope


def _describe_drawn(episode: Episode, drawn_by: str) -> DrawnPictures:
    dropped = sum(
        blank_picture.count(episode.steps[name]) for name in episode.spec.picture_fields
    )
    return DrawnPictures(drawn_by, episode.spec.cameras, dropped)


def _join_masks(masks: Sequence[PictureMasks]) -> PictureMasks | None:
    """What the record says of the pictures of all cameras; None without any."""
    if not masks:
        return None
    dropped = sum(one.frames_dropped for one in masks)
    return dataclasses.replace(masks[0], frames_dropped=dropped)
