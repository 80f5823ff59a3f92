"""Why bytes are not an episode: one error class per cause that callers distinguish."""

from pathlib import Path
from typing import ClassVar

from base.errors import ContinuonError, OversizedError

RAISE_LIMIT = "raise the limit if the source is trusted"
"""Remedy of an OversizedError whose limit the caller chose."""


class RldsError(ContinuonError):
    """Root of the errors that only `rlds/` raises; those of `base/` are separate."""

    default_remedy: ClassVar[str] = (
        "check where the bytes came from and copy them again"
    )


class MalformedEpisodeError(RldsError):
    """Bytes or values are not one episode of this schema version."""


class SealedError(MalformedEpisodeError):
    """A raw episode is encrypted with a key that this program does not have.

    It is no damage: the file stays as it is, and is read once the key is back.
    """

    default_remedy = (
        "it stays as it is; give the key with which it was recorded (--spool_key)"
    )


class SpoolKeyError(RldsError):
    """The file of a device's key is malformed, or others can read it."""

    default_remedy = (
        "name another --spool_key; the episodes that it opens stay as they are"
    )


class EpisodeFullError(OversizedError):
    """An episode cannot take another step; a recorder goes on in another episode."""

    default_remedy: ClassVar[str] = "close this episode and begin another"


class CorruptRecordError(RldsError):
    """A framed record is cut short or fails its checksum.

    Attributes:
        offset: byte offset of the record in the file.
    """

    def __init__(
        self,
        source: str | Path,
        expected: str,
        got: object,
        remedy: str | None = None,
        offset: int = 0,
    ) -> None:
        super().__init__(source, expected, got, remedy)
        self.offset = offset
        self.args = (*self.args, offset)

    def __str__(self) -> str:
        return (
            f"{self.source} at byte {self.offset}: expected {self.expected}, "
            f"got {self.got}; {self.remedy}"
        )


class EpisodeExistsError(RldsError):
    """An episode of this id is already in the folder."""

    default_remedy = "use a new episode id"


class WriterClosedError(RldsError):
    """The episode is already closed or aborted."""

    default_remedy = "open a new EpisodeWriter"


class DamagedJournalError(RldsError):
    """A journal holds bytes that are neither steps nor an incomplete last step."""

    default_remedy = (
        "the bytes are kept under the name ending in .damaged; check the disk"
    )


class DatasetFolderError(RldsError):
    """A folder of episodes differs from what was written there before."""

    default_remedy = "use an empty folder, or the spec that the folder began with"


class SidecarError(RldsError):
    """Bytes are not a sidecar, or a sidecar cannot be made of these values."""


class SidecarSignatureError(SidecarError):
    """A sidecar is unsigned, wrongly signed, or not signed by an enrolled key."""

    default_remedy = "enrol the robot's key, or have the robot sign the episode again"


class SidecarMismatchError(SidecarError):
    """A sidecar is about another episode than the one in its folder."""

    default_remedy = "keep each episode together with its own sidecar"


class SidecarSizeMismatchError(SidecarMismatchError):
    """A sidecar is about an episode of another size."""


class ReceiptSignatureError(RldsError):
    """A receipt is unsigned, wrongly signed, or not signed by an enrolled key."""

    default_remedy = "enrol the robot's key, or discard the receipt"


class ConsentSignatureError(RldsError):
    """A consent record is unsigned, wrongly signed, or not by an enrolled key."""

    default_remedy = "decide again with //edge:consent, or discard the record"


class RedactionRecordError(SidecarError):
    """A redaction record is missing or malformed."""

    default_remedy = "redact the episode again on the robot"


class SidecarViolationsError(SidecarError):
    """A sidecar counts other safety violations than the steps of its episode hold."""

    default_remedy = "have the robot sign what the episode holds"


class ConsentFormError(SidecarError):
    """A sidecar's consent holds more than a role and an hour."""

    default_remedy = "record by whom in a role, such as operator, and when in an hour"


class DateError(SidecarError):
    """A date is one that only a wrong clock gives."""

    default_remedy = "set the robot's clock and record again"


class DateBeforeFormatError(DateError):
    """A date lies before the day since which there are episodes."""


class DateInFutureError(DateError):
    """A date has not come yet."""


class FieldNotCoveredError(RldsError):
    """A redaction record does not say how each sensitive field was made safe.

    Attributes:
        fields: names of the fields, or of the entries of the record.
    """

    default_remedy = "redact the episode again on the robot"

    def __init__(self, fields: tuple[str, ...], expected: str) -> None:
        """Names the fields.

        Args:
            fields: what is missing or wrong.
            expected: what the record should hold.
        """
        self.fields = fields
        super().__init__("redaction record", expected, ", ".join(fields))


class PictureError(RldsError):
    """A picture does not decode, or is too large to be tried."""

    default_remedy = "record the episode again, or leave it out"


class FieldFormError(RldsError):
    """A value of an episode is not in the form that it may leave the robot in.

    Attributes:
        field: name of the field.
        sensitive: whether the value may reveal who or where a person is.
    """

    def __init__(self, field: str, sensitive: bool, expected: str, got: str) -> None:
        """Names the field; `got` must not quote the value, which may be private."""
        self.field = field
        self.sensitive = sensitive
        remedy = (
            "redact the episode again on the robot"
            if sensitive
            else "correct the value where the robot is set up"
        )
        super().__init__(f"episode field {field}", expected, got, remedy)


class ManifestError(RldsError):
    """Bytes are not a dataset manifest."""


class ShardMismatchError(RldsError):
    """A shard is missing or is not the one that the manifest names."""

    default_remedy = "curate the dataset again or copy the shard again"


class ShowError(RldsError):
    """An episode cannot be shown, or not as it was asked for."""

    default_remedy = "look at what is named, then run the command again"
