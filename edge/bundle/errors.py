"""Why a bundle was not written."""

from edge.errors import EdgeError


class BundleError(EdgeError):
    """Root of what making a bundle raises."""


class WrongProcessorError(BundleError):
    """A native file is for another processor than the bundle."""


class BundleListError(BundleError):
    """The list of files is malformed or names one path twice."""
