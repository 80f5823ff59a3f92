"""Why bytes are not an episode: one error class per cause a caller tells apart.

Every error carries the same four values: where, what was expected, what came, and
what to do next. Its text is those four on one line.
"""

from pathlib import Path
from typing import ClassVar

_LONGEST_VALUE = 300  # characters; an error about hostile bytes stays one line
_KEPT_AT_BEGIN = 100  # The end names the file of a long path.


def one_line(value: object) -> str:
    """Makes any value fit for an error's text: one line, printable, not long.

    Of a long one the begin and the end stay.
    """
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    if len(text) <= _LONGEST_VALUE:
        return text
    return f"{text[:_KEPT_AT_BEGIN]}...{text[_KEPT_AT_BEGIN - _LONGEST_VALUE :]}"


class RldsError(Exception):
    """Root of everything that `rlds/` raises.

    Attributes:
        source: file or object that the error is about.
        expected: what would have been accepted.
        got: what was there instead.
        remedy: what the reader does next.
    """

    default_remedy: ClassVar[str] = "check where the bytes came from and copy them anew"

    def __init__(
        self,
        source: str | Path,
        expected: str,
        got: object,
        remedy: str | None = None,
    ) -> None:
        self.source = one_line(source)
        self.expected = one_line(expected)
        self.got = one_line(got)
        self.remedy = one_line(remedy or self.default_remedy)
        super().__init__(self.source, self.expected, self.got, self.remedy)

    def __str__(self) -> str:
        return f"{self.source}: expected {self.expected}, got {self.got}; {self.remedy}"


class CanonicalJsonError(RldsError):
    """Bytes are not strict JSON, or a value has no canonical JSON form."""


class DiskError(RldsError):
    """The operating system refused to read, write or sync a file.

    The OSError is the cause (`__cause__`).
    """

    default_remedy = "free space or repair the disk, then run the command again"


class MalformedEpisodeError(RldsError):
    """Bytes or values are not one episode of this schema version."""


class OversizedError(RldsError):
    """Something is larger than the limit its reader accepts."""

    default_remedy = "raise the limit if the source is trusted"


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
    """A step was offered to an episode that is already closed or aborted."""

    default_remedy = "open a new EpisodeWriter"


class DamagedJournalError(RldsError):
    """A journal holds bytes that are neither steps nor a torn last step."""

    default_remedy = (
        "the bytes are kept under the name ending in .damaged; check the disk"
    )


class DatasetFolderError(RldsError):
    """A folder of episodes is not what was written there before."""

    default_remedy = "use an empty folder, or the spec that the folder began with"


class SidecarError(RldsError):
    """Bytes are not a sidecar, or a sidecar cannot be made of these values."""


class SidecarSignatureError(SidecarError):
    """A sidecar is unsigned, wrongly signed, or signed by no enrolled key."""

    default_remedy = "enrol the robot's key, or have the robot sign the episode again"


class SidecarMismatchError(SidecarError):
    """A sidecar speaks of another episode than the one beside it."""

    default_remedy = "put each episode beside its own sidecar"


class RedactionRecordError(SidecarError):
    """A redaction record is missing or malformed."""

    default_remedy = "redact the episode again on the robot"


class ManifestError(RldsError):
    """Bytes are not a dataset manifest."""


class ShardMismatchError(RldsError):
    """A shard is missing or is not the one the manifest names."""

    default_remedy = "curate the dataset again or copy the shard anew"
