"""Errors of `model/`: one root, one subclass per cause."""

from base.errors import ContinuonError


class ModelError(ContinuonError):
    """Root of every error that `model/` raises on purpose."""


class ConfigError(ModelError):
    """A model configuration that cannot describe a model."""

    default_remedy = "correct the configuration"


class ShapeMismatchError(ModelError):
    """An array whose shape disagrees with the model or with another array.

    Attributes:
        name: what the array is.
        expected: the shape that fits, as text.
        got: the shape that was given, as text.
    """

    def __init__(self, name: str, expected: object, got: object, remedy: str) -> None:
        super().__init__(name, f"shape {expected}", got, remedy)
        self.name = name


class NonFiniteError(ModelError):
    """A value that is NaN or infinite where a finite number is needed."""


class FrameError(ModelError):
    """An encoded image that cannot be decoded, or has more pixels than are allowed."""


class ExportError(ModelError):
    """The exported functions could not be made, or disagree with the model."""
