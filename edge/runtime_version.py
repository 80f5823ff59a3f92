"""The version of the robot's runtime, and since when it exists.

A channel can require a minimum of the version. No clock that shows a time before the
date is believed. Both change together.
"""

from datetime import UTC, datetime
from typing import Final

from base import project_version

RUNTIME_VERSION: Final = project_version.VERSION
RUNTIME_DATE: Final = datetime(2026, 1, 1, tzinfo=UTC)
EXPORT_TARGET: Final = "pi5-cpu"
