"""Why bytes are not trusted: one error class per cause that callers distinguish."""

from typing import ClassVar

from base.errors import ContinuonError


class ReleaseError(ContinuonError):
    """Root of the errors that only `release/` raises; those of `base/` are separate."""

    default_remedy: ClassVar[str] = "check the file and run the command again"


class LinkError(ReleaseError):
    """There is a symbolic link, hard link or special file instead of a plain file."""

    default_remedy = "replace it by a plain file"


class DuplicateNameError(ReleaseError):
    """One name occurs twice."""

    default_remedy = "nothing was kept; report the source of this data"


class MissingFileError(ReleaseError):
    """A file that the package lists, or must have, is absent."""

    default_remedy = "fetch the whole package again"


class UnknownFileError(ReleaseError):
    """A file is present that the package does not list."""

    default_remedy = "remove it or fetch the package again into an empty folder"


class DigestMismatchError(ReleaseError):
    """Content differs from the digest that names it."""

    default_remedy = "fetch the whole package again"


class WrongTargetError(ReleaseError):
    """The package or channel is not for this export target."""

    default_remedy = "choose the package for this robot's target"


class UntrustedError(ReleaseError):
    """Root of all signature errors; a caller may treat them all alike."""


class UnsignedError(UntrustedError):
    """There is no signature."""

    default_remedy = "sign it with `./bazelw run //release:sign`"


class BadSignatureError(UntrustedError):
    """A trusted key is named, but the signature does not match the bytes."""

    default_remedy = "discard the file; its content is not what the key holder signed"


class UnknownKeyError(UntrustedError):
    """All signatures are by keys that the keyring does not, or no longer, contain."""

    default_remedy = (
        "name the keyring of this store with --keyring; if it is that, discard the file"
    )


class WrongRoleError(UntrustedError):
    """A key of the keyring signed this without having the role for it."""

    default_remedy = "sign it with a key of the named role"


class ThresholdNotMetError(UntrustedError):
    """There are fewer good signatures by different keys than the role needs."""

    default_remedy = (
        "collect the remaining signatures with `./bazelw run //release:sign`"
    )


class DevelopmentKeyError(UntrustedError):
    """A development key signed this, and development keys are not allowed here."""

    default_remedy = (
        "pass --allow_development_keys on a development machine, or sign with a "
        "release key"
    )


class ExpiredError(ReleaseError):
    """The signed expiry time has passed."""

    default_remedy = "publish the channel again; if it is fresh, check the clock"


class RollbackError(ReleaseError):
    """The release counter is lower than, or conflicts with, one already accepted."""

    default_remedy = "publish with a higher release counter"


class CounterStepError(ReleaseError):
    """The release counter is further above the last one than is believed."""

    default_remedy = "publish with the next release counter"


class TimeTooFarError(ReleaseError):
    """A signed time lies further ahead than is believed."""

    default_remedy = "check the clocks of this machine and of the one that signed it"


class WrongChannelError(ReleaseError):
    """The file of another channel was served instead of this one."""

    default_remedy = "check the channel URI; the file belongs to another channel"


class WrongSubjectError(ReleaseError):
    """A provenance or blessing statement is about another package."""

    default_remedy = "put the statement into the package whose digest it names"


class NotBlessedError(ReleaseError):
    """The signed verdict is not `blessed`."""

    default_remedy = "read the verdict's reasons; train or evaluate again"


class KeyFileError(ReleaseError):
    """A private key file is missing, readable by others, or not a key."""

    default_remedy = "name a key file of mode 0600"
