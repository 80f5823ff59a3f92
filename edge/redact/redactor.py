"""Makes a redacted copy of an episode, which may leave the robot.

Which fields are sensitive, and which transform removes that, is written in
`rlds.spec` and nowhere else. A sensitive field that no transform here covers stops the
episode: nothing passes raw. What the transforms made is looked at once more, value by
value, as the uploader and ingest will (`rlds.redacted_form`).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from edge.errors import UncoveredFieldError
from edge.redact import transforms
from rlds.episode import Episode
from rlds.redacted_form import check_redacted
from rlds.redaction_record import RedactionRecord

TRANSFORM_VERSION = "numeric-1"

Transform = Callable[[Any], Any]


class Redactor:
    """The transforms of one robot."""

    def __init__(self, robot_hash: Callable[[str], str]) -> None:
        """Redacts episodes of a robot whose key turns its id into `robot_hash(id)`."""
        self._transforms: Mapping[str, Transform] = {
            "keyed_hash": robot_hash,
            "coarse_time": transforms.coarsen_time,
            "coarse_location": transforms.coarsen_location,
            "allow_list": transforms.allow_tags,
        }

    @property
    def transform_names(self) -> frozenset[str]:
        """Names of the transforms, as `rlds.spec` uses them."""
        return frozenset(self._transforms)

    def redact(self, episode: Episode) -> tuple[Episode, RedactionRecord]:
        """Returns a redacted copy and the record of what was done.

        Raises:
            UncoveredFieldError: a sensitive field has no transform here.
            RedactionError: a value cannot be redacted.
            FieldFormError: a value is not in the form in which it may leave the robot.
        """
        sensitive = [
            field
            for field in (*episode.spec.step_fields(), *episode.spec.episode_fields())
            if field.sensitive
        ]
        uncovered = [
            field.name
            for field in sensitive
            if field.scope != "episode" or field.transform not in self._transforms
        ]
        if uncovered:
            raise UncoveredFieldError(episode.metadata.episode_id, tuple(uncovered))
        changes = {
            field.name: self._transforms[field.transform or ""](
                getattr(episode.metadata, field.name)
            )
            for field in sensitive
        }
        redacted = dataclasses.replace(
            episode, metadata=dataclasses.replace(episode.metadata, **changes)
        )
        record = RedactionRecord(
            transform_version=TRANSFORM_VERSION,
            detectors={},
            fields_covered=tuple(sorted(changes)),
            frames_masked=0,
            attested=True,
        )
        check_redacted(redacted, record)
        return redacted, record
