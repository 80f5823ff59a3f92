import pytest

from base import paths
from base.errors import UnsafePathError


@pytest.mark.parametrize(
    "path",
    ["a", "functions/step.tflite", "robot_hash=0f/date=2026-01-31/x", "a..b/c-1.json"],
)
def test_plain_relative_path_is_returned(path: str) -> None:
    assert paths.check_relative(path, "test") == path


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../b",
        "a/..",
        "./a",
        "a//b",
        "a/",
        ".hidden",
        "a/.tmp-x",
        "a\\b",
        "C:\\x",
        "a\0b",
        "a\nb",
        "a b",
        "\u00fc",
    ],
)
def test_any_other_path_is_refused(path: str) -> None:
    with pytest.raises(UnsafePathError, match="plain segments"):
        paths.check_relative(path, "test")
