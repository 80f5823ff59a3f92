"""Why an update did not happen; the current package stays active in every case.

What is wrong with the bytes themselves (signature, expiry, digest, path) is said by
`release.errors`; here is what is wrong with this device or with the behaviour of the
package on it.
"""

from edge.errors import EdgeError


class OtaError(EdgeError):
    """Root of what the OTA client raises."""


class NoPackageError(OtaError):
    """No package is active and none was asked for."""


class StateFolderError(OtaError):
    """The state folder does not hold what this program writes there."""


class UpdateInProgressError(OtaError):
    """Another process updates this state folder."""


class ChannelSwitchError(OtaError):
    """The state folder follows another channel."""


class CanaryError(OtaError):
    """The package behaves differently here than where it was made."""


class DiskFullError(OtaError):
    """The package does not fit on this disk."""


class RuntimeTooOldError(OtaError):
    """The channel's package needs a newer runtime than this one."""


class UpdateFailedError(OtaError):
    """An update did not happen, for any reason, and a package is active."""


class NotInRolloutError(OtaError):
    """The channel's release is not yet for this device, which has no other package."""
