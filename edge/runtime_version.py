"""The version of the robot's runtime; a channel can require a minimum."""

from typing import Final

from base import project_version

RUNTIME_VERSION: Final = project_version.VERSION
EXPORT_TARGET: Final = "pi5-cpu"
