"""What the check of Starlark files refuses, with the real buildifier."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = Path(__file__).with_name("buildifier_main.py")

LOADS = """load("@rules_python//python:defs.bzl", "py_binary")

py_binary(
    name = "one",
    srcs = ["one.py"],
)
"""
SHELL = """sh_test(
    name = "one",
    srcs = ["one.sh"],
)
"""
NATIVE = '''"""A macro."""

def one():
    """Makes one."""
    native.py_library(name = "one")
'''
WRITTEN = '''"""A repository rule."""

BUILD = """
load("@rules_python//python:defs.bzl", "py_library")

py_library(name = "one")
@MORE@
"""
'''
TOOLS = '''"""A rule."""

load("@bazel_tools//tools/python:toolchain.bzl", "py_runtime_pair")

pair = py_runtime_pair
'''


def check(folder: Path, name: str, text: str) -> tuple[int, str]:
    """Returns the exit code for a file, and what is said about it."""
    (folder / name).write_text(text)
    done = subprocess.run(
        [sys.executable, MAIN, Path(os.environ["BUILDIFIER"]).absolute(), name],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("BUILD.bazel", LOADS),
        ("one.bzl", WRITTEN.replace("@MORE@", "")),
    ],
)
def test_a_rule_that_is_loaded_is_allowed(tmp_path: Path, name: str, text: str) -> None:
    assert check(tmp_path, name, text) == (0, "")


@pytest.mark.parametrize(
    ("name", "text", "named"),
    [
        ("BUILD.bazel", SHELL, "sh_test"),
        ("one.bzl", NATIVE, "native.py_library"),
        ("one.bzl", WRITTEN.replace("@MORE@", SHELL), "sh_test"),
        ("one.bzl", TOOLS, "@bazel_tools//tools/python"),
    ],
)
def test_what_bazel_8_has_removed_is_refused_by_name(
    tmp_path: Path, name: str, text: str, named: str
) -> None:
    code, told = check(tmp_path, name, text)
    assert code != 0
    assert f"nothing that Bazel 8 has removed, got {named};" in told


def test_a_file_in_another_format_is_refused(tmp_path: Path) -> None:
    code, told = check(tmp_path, "BUILD.bazel", LOADS.replace("    ", ""))
    assert code != 0
    assert "+    name" in told
