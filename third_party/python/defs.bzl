"""The rules and macros for Python targets in this repository.

The rules come from rules_python. `py_test` runs pytest on one source file, and
`package_checks` checks a folder with ruff (lint and format) and buildifier.
"""

load("@rules_python//python:defs.bzl", _py_binary = "py_binary", _py_library = "py_library", _py_test = "py_test")
load(":bytecode.bzl", "bytecode", "bytecode_file", "has_bytecode")

# XLA_FLAGS for the `env` of a test that compiles many small programs and runs each a
# few times: compiling then takes 0.5 to 0.8 of the time. Results are rounded
# differently, so a test that depends on rounding, or that runs long, does not use it.
COMPILES_FAST = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"

def _with_bytecode(srcs, data):
    return data + [bytecode_file(source) for source in srcs if has_bytecode(source)]

def py_library(name, srcs = [], data = [], **kwargs):
    """rules_python's py_library, with the bytecode that `package_checks` compiles.

    Args:
        name: target name.
        srcs: Python files.
        data: files that they read.
        **kwargs: passed to rules_python's py_library.
    """
    _py_library(name = name, srcs = srcs, data = _with_bytecode(srcs, data), **kwargs)

def py_binary(name, srcs, data = [], **kwargs):
    """rules_python's py_binary, with the bytecode that `package_checks` compiles.

    Args:
        name: target name.
        srcs: Python files.
        data: files that they read.
        **kwargs: passed to rules_python's py_binary.
    """
    _py_binary(name = name, srcs = srcs, data = _with_bytecode(srcs, data), **kwargs)

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

# Packages whose files //tests/style checks, all in one test: 112 tests of a second each
# took a minute of the build for half a second of linting.
CHECKED = [
    "",
    "base",
    "base/store",
    "base/testing",
    "cloud",
    "cloud/colab",
    "cloud/curate",
    "cloud/dataset",
    "cloud/demo",
    "cloud/evaluate",
    "cloud/exchange",
    "cloud/index",
    "cloud/ingest",
    "cloud/job",
    "cloud/package",
    "cloud/testing",
    "cloud/train",
    "edge",
    "edge/actors",
    "edge/bundle",
    "edge/control",
    "edge/episodes",
    "edge/loops",
    "edge/operator",
    "edge/ota",
    "edge/processes",
    "edge/redact",
    "edge/robots",
    "edge/testing",
    "model",
    "model/export",
    "model/learn",
    "model/testing",
    "release",
    "release/commands",
    "release/examples",
    "release/private",
    "release/signing",
    "release/testing",
    "rlds",
    "rlds/show",
    "rlds/testing",
    "tests/arrows",
    "tests/bazelw",
    "tests/benchmarks",
    "tests/commands",
    "tests/fleet",
    "tests/loop",
    "tests/parsers",
    "tests/pi",
    "tests/reproducible",
    "tests/sandbox",
    "tests/types",
    "third_party",
    "third_party/bazel",
    "third_party/bazel/no_cc",
    "third_party/debian",
    "third_party/node",
    "third_party/python",
    "tests/style",
]

def package_checks(name = "checks", python = None, starlark = None):
    """Lets //tests/style check how the files of this folder are written, and compiles them.

    Args:
        name: prefix of the targets.
        python: Python files; by default all in this folder.
        starlark: BUILD and .bzl files; by default all in this folder.
    """
    if native.package_name() not in CHECKED:
        fail("expected %r in CHECKED of //third_party/python:defs.bzl" % native.package_name())
    if python == None:
        python = native.glob(["**/*.py", "**/*.pyi"], allow_empty = True)
    if starlark == None:
        starlark = native.glob(["**/BUILD.bazel", "**/MODULE.bazel", "**/*.bzl", "WORKSPACE"], allow_empty = True)
    bytecode(name = "bytecode", srcs = native.glob(["*.py"], allow_empty = True))
    native.filegroup(
        name = name + ".files",
        srcs = python + starlark,
        visibility = ["//tests/style:__pkg__"],
    )
    native.filegroup(
        name = name + ".readme",
        srcs = native.glob(["README.md"], allow_empty = True),
        visibility = ["//tests/style:__pkg__"],
    )
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

def style_tests(name):
    """Tests that all files of `CHECKED` are formatted and pass the linters.

    Args:
        name: prefix of the targets.
    """
    files = ["//%s:checks.files" % package for package in CHECKED]
    arguments = ["$(rootpaths %s)" % label for label in files]
    _py_test(
        name = name + ".ruff",
        size = "small",
        srcs = ["//third_party/python:ruff_main.py"],
        main = "//third_party/python:ruff_main.py",
        args = arguments,
        data = files + ["//:pyproject.toml"],
        deps = ["//third_party/python:dev_tree"],
    )
    _py_test(
        name = name + ".buildifier",
        size = "small",
        srcs = ["//third_party/python:buildifier_main.py"],
        main = "//third_party/python:buildifier_main.py",
        args = ["$(rootpath @buildifier//:buildifier)"] + arguments,
        data = files + ["@buildifier//:buildifier"],
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
