"""Why an update did not happen; what was active before stays active in every case.

`release.errors` has the errors of the bytes themselves (signature, expiry, digest,
path). The errors here are about this robot, or about how the package behaves on it.
"""

from edge.errors import EdgeError


class OtaError(EdgeError):
    """Root of what the OTA client raises."""


class NoPackageError(OtaError):
    """No package is active, and no channel was given to get one from."""


class StateFolderError(OtaError):
    """The state folder cannot be used, or its pointer is malformed."""


class UpdateInProgressError(OtaError):
    """Another process is updating this state folder."""


class ChannelSwitchError(OtaError):
    """The state folder follows another channel."""


class CanaryError(OtaError):
    """The package behaves differently here than where it was made."""


class TrialCutShortError(CanaryError):
    """The trial of a package took too long, or the system ended it."""


class WorseThanActiveError(CanaryError):
    """The package errs much more than the active one on the same episodes."""


class SlowStepError(CanaryError):
    """The package's step takes too long on this machine, perhaps because it is busy."""


class RefusedBeforeError(OtaError):
    """This robot has refused the offered package before, and nothing has changed."""


class KeepsCrashingError(OtaError):
    """The last starts of a package died before an episode ended."""


class DiskFullError(OtaError):
    """The package does not fit on this disk."""


class RuntimeTooOldError(OtaError):
    """The channel's package needs a newer runtime than this one."""


class UpdateFailedError(OtaError):
    """An update failed, for whatever reason."""


class NotInRolloutError(OtaError):
    """The rollout has not reached this robot, which has no package to keep."""
