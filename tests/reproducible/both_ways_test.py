"""The arguments of `both_ways`, which must not start a build by mistake."""

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("both_ways")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SCRIPT, *arguments], capture_output=True, text=True, check=False, timeout=30
    )


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_printed_and_nothing_is_built(flag: str) -> None:
    done = run(flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: tests/reproducible/both_ways\n")


def test_unknown_argument_is_wrong_usage() -> None:
    done = run("--nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "both_ways: expected no argument, got '--nosuch'; see --help\n"
    )
