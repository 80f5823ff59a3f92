"""The rules and macros for Python targets in this repository.

The rules come from rules_python. `py_test` runs pytest on one source file, and
`package_checks` checks a folder with ruff (lint and format) and buildifier.
"""

load("@rules_python//python:defs.bzl", _py_binary = "py_binary", _py_library = "py_library", _py_test = "py_test")

py_binary = _py_binary
py_library = _py_library

# XLA_FLAGS for the `env` of a test that compiles many small programs and runs each a
# few times: compiling then takes 0.5 to 0.8 of the time. Results are rounded
# differently, so a test that depends on rounding, or that runs long, does not use it.
COMPILES_FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

def py_test(name, srcs, deps = [], args = [], env = {}, long = False, **kwargs):
    """Runs pytest on one test file.

    What takes minutes is tagged `long`: `.bazelrc` leaves it out, and continuous
    integration runs it. A file of which only some tests do marks those with
    `pytest.mark.long` and has `long = True` here; they become the target `NAME.long`,
    which alone has the size, if that is large.

    Args:
        name: target name, `foo_test` for `foo_test.py`.
        srcs: the test file, then helper modules that only this test imports.
        deps: what the test imports; pytest and hypothesis are added.
        args: more arguments for pytest.
        env: more environment variables.
        long: whether the file has tests that are marked `long`.
        **kwargs: passed to rules_python's py_test.
    """
    common = {
        "deps": deps + ["//third_party/python:dev"],
        "env": env,
        "main": "//third_party/python:pytest_main.py",
        "srcs": srcs + ["//third_party/python:pytest_main.py"],
    } | kwargs
    arguments = ["$(rootpath %s)" % srcs[0]] + args
    if not long:
        # Bazel's filter of tags takes the name of a timeout for a tag, and that of a
        # large test is long: it would be left out without a word.
        if common.get("size") == "large" and "long" not in common.get("tags", []):
            fail("%s: a large test is left out by default: tag it long, or make it medium" % name)
        _py_test(name = name, args = arguments, **common)
        return
    short = common | ({"size": "medium"} if common.get("size") == "large" else {})
    _py_test(name = name, args = arguments + ["'-m=not long'"], **short)
    tags = common.pop("tags", []) + ["long"]
    _py_test(name = name + ".long", args = arguments + ["-m=long"], tags = tags, **common)

def package_checks(name = "checks", python = None, starlark = None):
    """Tests that the files of this folder are formatted and pass the linters.

    Args:
        name: prefix of the targets.
        python: Python files; by default all in this folder.
        starlark: BUILD and .bzl files; by default all in this folder.
    """
    if python == None:
        python = native.glob(["**/*.py", "**/*.pyi"], allow_empty = True)
    if starlark == None:
        starlark = native.glob(["**/BUILD.bazel", "**/MODULE.bazel", "**/*.bzl", "WORKSPACE"], allow_empty = True)
    if "BUILD.bazel" in starlark:
        native.filegroup(
            name = name + ".build_file",
            srcs = ["BUILD.bazel"],
            visibility = [
                "//tests/arrows:__pkg__",
                "//tests/commands:__pkg__",
            ],
        )
        native.filegroup(
            name = name + ".sources",
            srcs = python,
            visibility = [
                "//tests/arrows:__pkg__",
                "//tests/types:__pkg__",
            ],
        )
    if python:
        _py_test(
            name = name + ".ruff",
            size = "small",
            srcs = ["//third_party/python:ruff_main.py"],
            main = "//third_party/python:ruff_main.py",
            args = ["$(rootpath %s)" % file for file in python],
            data = python + ["//:pyproject.toml"],
            deps = ["//third_party/python:dev_tree"],
        )
    _py_test(
        name = name + ".buildifier",
        size = "small",
        srcs = ["//third_party/python:buildifier_main.py"],
        main = "//third_party/python:buildifier_main.py",
        args = ["$(rootpath @buildifier//:buildifier)"] + ["$(rootpath %s)" % file for file in starlark],
        data = starlark + ["@buildifier//:buildifier"],
    )

def mypy_test(name, srcs, deps = [], data = []):
    """Checks files with `mypy --strict`, together with the sources they import.

    Args:
        name: target name.
        srcs: files, or groups of files, to check.
        deps: libraries whose sources the files import.
        data: more files.
    """
    _py_test(
        name = name,
        size = "medium",
        srcs = ["//third_party/python:mypy_main.py"],
        main = "//third_party/python:mypy_main.py",
        args = ["$(rootpaths %s)" % label for label in srcs],
        data = srcs + data + ["//:pyproject.toml"],
        deps = deps + ["//third_party/python:dev"],
    )
