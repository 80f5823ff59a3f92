"""The version of the robot's runtime; a channel can require a minimum."""

from typing import Final

RUNTIME_VERSION: Final = "0.1.0"
EXPORT_TARGET: Final = "pi5-cpu"
