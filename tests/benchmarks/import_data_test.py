import json

from tests.benchmarks import commands


def test_every_form_is_imported_with_and_without_pictures() -> None:
    small = ("--steps=200", "--picture_steps=200", "--width=64", "--height=48")
    done = commands.run("import_data.py", *small)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for name in ("rlds", "lerobot", "rlds_pictures", "lerobot_pictures"):
        assert found[f"{name}_steps_per_s"] > 0
        assert found[f"{name}_s"] > 0
