"""The benchmark of the camera, at a small size: the simple scene draws far faster."""

import json

from tests.benchmarks import commands


def test_simplified_scene_draws_several_times_as_fast_as_the_whole() -> None:
    done = commands.run("drawing.py", "--pictures=10", "--full=2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["faces"] < 20_000 < 300_000 < found["whole_scene_faces"]
    assert found["pictures_per_s"] > 2 * found["whole_scene_pictures_per_s"]
    assert found["size"] == [64, 64]


def test_help_says_what_is_measured() -> None:
    assert "how fast the front camera" in commands.run("drawing.py", "--help").stdout
    assert commands.run("drawing.py", "--pictures=0").returncode == 2
