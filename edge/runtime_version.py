"""The version of the robot's runtime, which channels may ask for a minimum of."""

from typing import Final

RUNTIME_VERSION: Final = "0.1.0"
EXPORT_TARGET: Final = "pi5-cpu"
