"""The bundle stays small enough to be downloaded by a robot at home.

A MB is a million bytes.
"""

import os
from pathlib import Path
from typing import Final

CONTROL_LIMIT_MB: Final = 45.0
LIMIT_MB: Final = 110.0
"""Of the bundle and of the learner's archive, which is unpacked over it."""


def test_downloads_of_control_and_of_all_are_within_their_limits() -> None:
    control = Path(os.environ["BUNDLE"]).stat().st_size / 1e6
    learner = Path(os.environ["LEARNER"]).stat().st_size / 1e6
    print(f"control {control:.1f} MB, learner {learner:.1f} MB")
    assert 1.0 < control <= CONTROL_LIMIT_MB
    assert learner > 1.0
    assert control + learner <= LIMIT_MB
