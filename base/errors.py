"""The base class of every error of this project, and the errors that all folders use.

An error carries four values: its source, what was expected, what was found instead,
and what to do next. Its text is those four on one line. Each folder's `errors.py`
derives its own root from `ContinuonError` and has one subclass per cause that a caller
handles differently.
"""

from pathlib import Path
from typing import ClassVar

_LONGEST_VALUE = 300  # characters; an error about hostile bytes stays one line
_KEPT_AT_START = 100  # The end is kept too: it names the file of a long path.


def printable(text: str) -> str:
    """Replaces what a terminal or a page does not show by `?`, line breaks as well.

    A text from outside, such as a task's name, may hold control characters: written to
    a terminal, they move the cursor, change its title or hide what was printed before;
    a line break makes the rest of it look like somebody else's line. Every text passes
    here, or `printable_lines` or `one_line`, on its way to a terminal, a log or a page.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else "?" for c in text)


def printable_lines(text: str) -> str:
    """Does what `printable` does to each line of a text that is meant to have some."""
    return "\n".join(printable(line) for line in text.split("\n"))


def one_line(value: object, longest: int = _LONGEST_VALUE) -> str:
    """Turns any value into one printable line of limited length for an error's text.

    Args:
        value: what to show; a long one keeps its beginning and its end.
        longest: length beyond which it is cut, in characters.
    """
    text = str(value)
    if len(text) > 4 * longest:  # megabytes need not be cleaned to be cut
        text = text[: 2 * longest] + text[-2 * longest :]
    text = printable(" ".join(text.split()))
    if len(text) <= longest:
        return text
    return f"{text[:_KEPT_AT_START]}...{text[_KEPT_AT_START - longest :]}"


def reason(error: Exception, about: str | Path = "") -> str:
    """Says on one line what was wrong, for a text that says itself what follows.

    Args:
        error: what was caught; the remedy of a `ContinuonError` is left out.
        about: what that text names already, a file or folder: it is not named again.
    """
    if isinstance(error, ContinuonError):
        source, text = error.source, f"expected {error.expected}, got {error.got}"
    elif isinstance(error, OSError) and error.strerror:
        source, text = str(error.filename or about), error.strerror
    else:
        return one_line(error) or type(error).__name__
    # What lies in a folder that is named has its name there.
    if str(about):
        source = "" if source == str(about) else source.removeprefix(f"{about}/")
    return one_line(f"{source}: {text}" if source else text, 2 * _LONGEST_VALUE)


class ContinuonError(Exception):
    """Root of every error whose text is written for the user.

    Attributes:
        source: the file, URI, flag or object that the error is about.
        expected: what would have been accepted.
        got: what was found instead.
        remedy: what the reader should do next.
    """

    default_remedy: ClassVar[str] = "check the input and run the command again"
    longest_remedy: ClassVar[int] = _LONGEST_VALUE
    """Longer where a remedy of our own lists what there is, in characters."""

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
        self.remedy = one_line(remedy or self.default_remedy, self.longest_remedy)
        super().__init__(self.source, self.expected, self.got, self.remedy)

    def __str__(self) -> str:
        return f"{self.source}: expected {self.expected}, got {self.got}; {self.remedy}"


class DiskError(ContinuonError):
    """The operating system refused to read, write or sync a file.

    `__cause__` is the OSError.
    """

    # Services tell it too, which go on by themselves.
    default_remedy = "free space or repair the disk"


class WrongKindError(ContinuonError):
    """A flag names a folder where a file is expected, or the other way round."""


class FlagValueError(ContinuonError):
    """What a flag names is not there, or is not what the flag needs."""


class CanonicalJsonError(ContinuonError):
    """Bytes are not strict JSON, or a value has no canonical JSON form."""

    default_remedy = "check where the bytes came from and copy them again"


class MalformedError(ContinuonError):
    """Bytes do not have the form of the record that they should be."""

    default_remedy = "replace it by a well-formed one"


class OversizedError(ContinuonError):
    """There are more bytes than the limit or the signed size; reading stopped there."""

    default_remedy = "nothing was kept; report the source of this data"


class UnsafePathError(ContinuonError):
    """A path is absolute, climbs with `..`, or uses characters outside the format."""

    default_remedy = "nothing was written; report the source of this data"


class StoreError(ContinuonError):
    """The store could not carry out the request."""

    default_remedy = "check the URI and the permissions, then run it again"


class CredentialsError(StoreError):
    """This machine has no credentials for the store, whatever its location is."""


class NotFoundError(StoreError):
    """The object does not exist."""

    default_remedy = "check the path"


class ObjectError(StoreError):
    """One name in a store leads to something that is not an object; others do not."""

    default_remedy = "remove what is there, or let whoever put it there do so"


class PreconditionFailedError(StoreError):
    """The object changed since its generation was read."""

    default_remedy = "read the object again and repeat the change on its new content"
