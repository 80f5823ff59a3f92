"""Bazel refuses an import that points the wrong way.

A second Bazel analyses the package groups of order.bzl, with one target per pair of
packages, and its refusals are compared with the order of folders and rooms. That each
package's own targets are bound to its group is read from its BUILD file. What a program
in another folder's runfiles makes possible, `imports_test.py` refuses.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.arrows.order import (
    FOLDERS,
    ORDER_FILE,
    ROOFS,
    ROOMS,
    grounds_and_rooms,
    may_import,
)

IMPORTED = grounds_and_rooms()
IMPORTING = [
    *IMPORTED,
    *(f"{f}/{roof}" for f in FOLDERS for roof in ROOFS[f] if roof),
    "tests",
]


def group(imported: str) -> str:
    """The package group of a ground or a room."""
    return f"//:may_import_{imported.replace('/', '_')}"


def bazel_command(state: Path) -> list[str]:
    """The Bazel that was started, with a state folder and settings of its own."""
    bazel = Path(os.environ["RUNNING_BAZEL"]).read_text()
    assert bazel, "expected bazel on PATH where Bazel was started; start it by ./bazelw"
    command = [bazel, "--nohome_rc", f"--output_user_root={state}"]
    debian_java = Path("/usr/lib/jvm/default-java")
    if debian_java.exists():
        command.append(f"--server_javabase={debian_java}")
    return [*command, "--max_idle_secs=5"]


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """The arrows (importing, imported) which Bazel refuses."""
    workspace = tmp_path_factory.mktemp("workspace")
    (workspace / "WORKSPACE").touch()
    shutil.copyfile(ORDER_FILE, workspace / "order.bzl")
    (workspace / "BUILD.bazel").write_text(
        'load("//:order.bzl", "import_groups")\n\nimport_groups(name = "may_import")\n'
    )
    for package in IMPORTING:
        lines = []
        if package in IMPORTED:
            lines = [f'filegroup(name = "lib", visibility = ["{group(package)}"])']
        lines += [
            f'filegroup(name = "to-{number}", srcs = ["//{other}:lib"])'
            for number, other in enumerate(IMPORTED)
        ]
        (workspace / package).mkdir(parents=True, exist_ok=True)
        (workspace / package / "BUILD.bazel").write_text("\n".join(lines))
    overrides = [
        line.replace("common ", "")
        for line in Path("third_party/bazel/debian.bazelrc").read_text().splitlines()
        if line.startswith("common --override_repository")
        and Path(line.rpartition("=")[2]).exists()
    ]
    done = subprocess.run(
        [
            *bazel_command(tmp_path_factory.mktemp("state")),
            *("build", "--nobuild", "--keep_going", "--noenable_bzlmod"),
            *("--enable_workspace", "--color=no", "--curses=no", *overrides),
            "//...",
        ],
        cwd=workspace,
        env={"PATH": "/usr/bin:/bin", "HOME": os.environ["TEST_TMPDIR"]},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found = set(
        re.findall(
            r"target '//([\w/]+):lib' is not visible from\s+target '//([\w/]+):to-",
            done.stdout,
        )
    )
    assert found, done.stdout
    return {(importing, imported) for imported, importing in found}


@pytest.mark.parametrize("importing", IMPORTING)
def test_bazel_allows_an_import_only_in_the_order_of_folders_and_rooms(
    refused: set[tuple[str, str]], importing: str
) -> None:
    allowed = {other for other in IMPORTED if (importing, other) not in refused}
    assert allowed == {other for other in IMPORTED if may_import(importing, other)}


@pytest.mark.parametrize(
    ("importing", "imported"),
    [
        ("base", "rlds"),
        ("rlds", "release"),
        ("release", "rlds"),
        ("release", "release/signing"),
        ("edge", "model"),
        ("edge", "cloud"),
        ("edge", "release/signing"),
        ("edge/ota", "release/signing"),
        ("edge/robots", "edge/control"),
        ("cloud", "edge"),
        ("cloud/job", "edge"),
        ("cloud/dataset", "cloud/curate"),
        ("cloud/train", "cloud/job"),
        ("model", "model/export"),
    ],
)
def test_bazel_refuses_these_imports(
    refused: set[tuple[str, str]], importing: str, imported: str
) -> None:
    """Named one by one, so that an edit of order.bzl cannot let them in unseen."""
    assert (importing, imported) in refused


BUILD_FILES = sorted(
    path for folder in FOLDERS for path in Path(folder).rglob("BUILD.bazel")
)


def test_every_folder_shows_its_build_files() -> None:
    shown = {path.parent.as_posix() for path in BUILD_FILES}
    assert set(IMPORTED) <= shown


@pytest.mark.parametrize("path", BUILD_FILES, ids=str)
def test_a_library_is_visible_to_its_packages_group_at_most(path: Path) -> None:
    """Programs and data may be public: they are run, not imported."""
    text = path.read_text()
    package = path.parent.as_posix()
    folder, _, room = package.partition("/")
    allowed = {
        group(package if room in ROOMS[folder] else folder),
        # Narrower than the folder's group.
        f"//{folder}:__subpackages__",
        "//tests:__subpackages__",
        "//visibility:private",
    }
    if room in ROOMS[folder]:
        allowed.discard(f"//{folder}:__subpackages__")
    default = re.search(r"^package\((.*?)\)$", text, re.S | re.M)
    if default:
        assert set(re.findall(r'"([^"]+)"', default[1])) <= allowed
    for library in re.findall(r"^py_library\(\n.*?^\)$", text, re.S | re.M):
        visibility = re.search(r"visibility = \[([^]]*)\]", library)
        if visibility:
            assert set(re.findall(r'"([^"]+)"', visibility[1])) <= allowed, library
