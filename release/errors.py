"""Why bytes are not trusted: one error class for each cause a caller tells apart."""

from typing import ClassVar

from base.errors import ContinuonError


class ReleaseError(ContinuonError):
    """Root of what only `release/` raises; the errors of `base/` are not among them."""

    default_remedy: ClassVar[str] = "check the file and run the command again"


class LinkError(ReleaseError):
    """A symbolic link, hard link or device stands where a plain file belongs."""

    default_remedy = "replace it by a plain file of its own"


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

    default_remedy = "choose the package of this device's target"


class UntrustedError(ReleaseError):
    """Root of what is wrong with signatures; a caller may treat them all alike."""


class UnsignedError(UntrustedError):
    """There is no signature at all."""

    default_remedy = "sign it with `./bazelw run //release:sign`"


class BadSignatureError(UntrustedError):
    """A trusted key is named, but the signature does not fit the bytes."""

    default_remedy = "discard the file; its content is not what the key holder signed"


class UnknownKeyError(UntrustedError):
    """Signed only by keys that the keyring does not hold, or holds no longer."""

    default_remedy = "renew the keyring, or discard the file"


class WrongRoleError(UntrustedError):
    """Signed by a key of the keyring that may not sign this."""

    default_remedy = "sign it with a key of the named role"


class ThresholdNotMetError(UntrustedError):
    """Fewer good signatures by different keys than the role demands."""

    default_remedy = (
        "collect the remaining signatures with `./bazelw run //release:sign`"
    )


class DevelopmentKeyError(UntrustedError):
    """Signed by a development key, and development keys are not allowed here."""

    default_remedy = (
        "pass --allow_development_keys on a development machine, or sign with a "
        "release key"
    )


class ExpiredError(ReleaseError):
    """The signed expiry lies in the past."""

    default_remedy = "publish the channel again; if it is fresh, check the clock"


class RollbackError(ReleaseError):
    """The release counter is lower than, or conflicts with, one already accepted."""

    default_remedy = "publish with a higher release counter"


class WrongChannelError(ReleaseError):
    """A channel file of another name was served in this one's place."""

    default_remedy = "check the channel URI; the file belongs to another channel"


class WrongSubjectError(ReleaseError):
    """A provenance or blessing statement is about another package."""

    default_remedy = "put the statement beside the package whose digest it names"


class NotBlessedError(ReleaseError):
    """The signed verdict is not `blessed`."""

    default_remedy = "read the verdict's reasons; train or evaluate again"


class KeyFileError(ReleaseError):
    """A private key file is absent, readable by others, or not a key."""

    default_remedy = "name a key file of mode 0600"
