"""No import points the wrong way: Bazel refuses it, and no source has one.

The order of folders and rooms is read from order.bzl, the file that Bazel reads. A
second Bazel analyses its package groups, with one target per pair of packages, and its
refusals are compared with that order. That each package's own targets are bound to its
group is read from its BUILD file.

A program may stand in another folder's runfiles, to be run (`cloud/` runs
`//edge:run`); its modules are then importable there, which no visibility refuses, so
the sources are read as well.
"""

import ast
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ORDER_FILE = Path("order.bzl")


def _table(name: str) -> dict[str, list[str]]:
    """A dictionary of order.bzl: it is written in the common part of two languages."""
    for node in ast.parse(ORDER_FILE.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            found = ast.literal_eval(node.value)
            assert isinstance(found, dict)
            return found
    raise AssertionError(f"{ORDER_FILE}: expected a table {name}, got none")


FOLDERS = _table("FOLDERS")
ROOMS = _table("ROOMS")
ROOFS = _table("ROOFS")
CLOSED = _table("CLOSED")


def grounds_and_rooms() -> list[str]:
    """Every place a source can be imported from, such as `cloud` and `cloud/index`."""
    return [
        *FOLDERS,
        *(f"{folder}/{room}" for folder in FOLDERS for room in ROOMS[folder]),
    ]


def may_import(importing: str, imported: str) -> bool:
    """Says whether a package may import a ground or a room, as the design has it.

    Args:
        importing: a package, such as `cloud/index`.
        imported: a ground or a room.
    """
    folder, _, room = importing.partition("/")
    other, _, other_room = imported.partition("/")
    if importing == imported or folder == "tests":
        return True
    if folder != other:
        return other in FOLDERS[folder] and folder not in CLOSED.get(imported, [])
    if not other_room or room in ROOFS[folder]:
        return True
    rooms = ROOMS[folder]
    return room in rooms and rooms.index(other_room) < rooms.index(room)


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


@pytest.mark.long  # the second Bazel
@pytest.mark.parametrize("importing", IMPORTING)
def test_bazel_allows_an_import_only_in_the_order_of_folders_and_rooms(
    refused: set[tuple[str, str]], importing: str
) -> None:
    allowed = {other for other in IMPORTED if (importing, other) not in refused}
    assert allowed == {other for other in IMPORTED if may_import(importing, other)}


@pytest.mark.long
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


SOURCES = sorted(path for folder in FOLDERS for path in Path(folder).rglob("*.py"))
PLACES = IMPORTED


def imported_places(path: Path) -> set[str]:
    """Grounds and rooms that a source file imports, inside its functions too."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules |= {f"{node.module}.{alias.name}" for alias in node.names}
    found = set()
    for name in modules:
        folder, _, rest = name.partition(".")
        room = f"{folder}/{rest.partition('.')[0]}"
        if folder in FOLDERS:
            found.add(room if room in PLACES else folder)
    return found


def test_every_folder_shows_its_sources() -> None:
    shown = {path.parent.as_posix() for path in SOURCES}
    assert set(PLACES) <= shown


@pytest.mark.parametrize("folder", list(FOLDERS))
def test_sources_import_only_in_the_order_of_folders_and_rooms(folder: str) -> None:
    wrong = {
        str(path): [
            place
            for place in sorted(imported_places(path))
            if not may_import(path.parent.as_posix(), place)
        ]
        for path in SOURCES
        if path.parts[0] == folder
    }
    assert {path: places for path, places in wrong.items() if places} == {}


@pytest.mark.parametrize(
    ("line", "place"),
    [
        ("import edge.run", "edge"),
        ("from edge import run", "edge"),
        ("from edge.ota import update", "edge/ota"),
        ("from edge import ota", "edge/ota"),
        ("def f():\n  from edge.control.loop import Pace", "edge/control"),
    ],
)
def test_an_import_is_found_wherever_it_stands(
    tmp_path: Path, line: str, place: str
) -> None:
    (tmp_path / "one.py").write_text(line)
    assert imported_places(tmp_path / "one.py") == {place}
