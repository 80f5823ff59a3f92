"""The benchmark of the masks, at a small size: what it counts is what is there."""

import json
from typing import Any

from tests.benchmarks import commands


def measure(*arguments: str) -> dict[str, Any]:
    done = commands.run("masks.py", "--steps=9", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_track_of_a_few_leaks_and_each_picture_has_a_mask() -> None:
    found = measure("--tracks=4")
    assert found["tracks"] >= 4
    assert found["leaked_tracks"] == found["leaked_frames"] == 0, found["leaks"]
    assert found["dropped_pictures"] == 0
    assert 0 < found["masked_pictures"] <= found["pictures"]
    assert 0 < found["masked_area"] < 0.6


def test_scenes_without_people_have_no_tracks() -> None:
    found = measure("--tracks=0", "--scenes=2")
    assert found["tracks"] == 0
    assert found["pictures"] == 18


def test_help_says_what_is_measured() -> None:
    done = commands.run("masks.py", "--help")
    assert "who leaks" in done.stdout
    assert "--farthest_m" in done.stdout
    assert commands.run("masks.py", "--tracks=many").returncode == 2
