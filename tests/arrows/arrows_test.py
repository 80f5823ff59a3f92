"""Bazel refuses an import that points the wrong way.

A second Bazel analyses a copy of the root BUILD.bazel's package groups, with one
target per pair of folders, and its refusals are compared with the order of the
folders. That each folder's
own targets are bound to its group is read from its BUILD files. What a program in
another folder's runfiles makes possible, `imports_test.py` refuses.
"""

import os
import re
import subprocess
from itertools import product
from pathlib import Path

import pytest

from tests.arrows.order import ORDER

IMPORTED = ("base", "rlds", "model", "release", "edge", "cloud")


def package_groups() -> str:
    """The package groups of the repository's root BUILD.bazel, word for word."""
    groups = re.findall(
        r"^package_group\(.*?^\)$", Path("BUILD.bazel").read_text(), re.S | re.M
    )
    assert len(groups) == len(IMPORTED)
    return "\n".join(groups)


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
    (workspace / "BUILD.bazel").write_text(package_groups())
    for folder in ORDER:
        lines = [
            f'filegroup(name = "library", visibility = ["//:may_import_{folder}"])'
            if folder in IMPORTED
            else ""
        ]
        lines += [
            f'filegroup(name = "imports_{other}", srcs = ["//{other}:library"])'
            for other in IMPORTED
        ]
        (workspace / folder).mkdir()
        (workspace / folder / "BUILD.bazel").write_text("\n".join(lines))
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
            r"target '//(\w+):library' is not visible from\s+target '//(\w+):imports_",
            done.stdout,
        )
    )
    assert found, done.stdout
    return {(importing, imported) for imported, importing in found}


@pytest.mark.parametrize(("importing", "imported"), [*product(ORDER, IMPORTED)])
def test_an_arrow_is_allowed_only_in_the_order_of_the_folders(
    refused: set[tuple[str, str]], importing: str, imported: str
) -> None:
    allowed = imported in ORDER[importing] or imported == importing
    assert ((importing, imported) not in refused) == allowed


BUILD_FILES = sorted(
    path
    for folder in ORDER
    if folder != "tests"
    for path in Path(folder).rglob("BUILD.bazel")
)


def test_every_folder_shows_its_build_files() -> None:
    assert {path.parts[0] for path in BUILD_FILES} == set(IMPORTED)


@pytest.mark.parametrize("path", BUILD_FILES, ids=str)
def test_a_library_is_visible_to_its_folders_group_at_most(path: Path) -> None:
    """Programs and data may be public: they are run, not imported."""
    text = path.read_text()
    folder = path.parts[0]
    allowed = {
        f"//:may_import_{folder}",
        # Narrower than the folder's group.
        f"//{folder}:__subpackages__",
        "//tests:__subpackages__",
        "//visibility:private",
        "//release:may_sign",
    }
    default = re.search(r"^package\((.*?)\)$", text, re.S | re.M)
    if default:
        assert set(re.findall(r'"([^"]+)"', default[1])) <= allowed
    for library in re.findall(r"^py_library\(\n.*?^\)$", text, re.S | re.M):
        visibility = re.search(r"visibility = \[([^]]*)\]", library)
        if visibility:
            assert set(re.findall(r'"([^"]+)"', visibility[1])) <= allowed, library


def test_the_robot_may_not_import_the_signing_half() -> None:
    text = Path("release/BUILD.bazel").read_text()
    group = re.search(r'name = "may_sign",\s+packages = \[([^]]*)\]', text)
    assert group
    assert "//edge" not in group[1]
    signing = Path("release/signing/BUILD.bazel").read_text()
    assert 'package(default_visibility = ["//release:may_sign"])' in signing
    assert "visibility" not in signing.split("package(default_visibility", 1)[1]
