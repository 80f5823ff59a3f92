"""What flags of files and folders refuse before their command does anything."""

from pathlib import Path

import pytest

from base import path_flags, plain_file
from base.errors import FlagValueError, MalformedError
from base.testing import command

_COMMAND = """
from absl import flags
from base import command_line, path_flags

flags.DEFINE_string("file", None, "a file")
flags.DEFINE_string("folder", None, "a folder")
flags.DEFINE_list("files", [], "more files")
flags.DEFINE_string("place", "~/default", "a path or a URI")
path_flags.files("file", "files")
path_flags.folders("folder")
path_flags.places("place")


def main(argv: list[str]) -> None:
    values = flags.FLAGS
    print("done")
    print(values["file"].value, values["folder"].value, sep="\\n")
    print(*values["files"].value, values["place"].value)


if __name__ == "__main__":
    command_line.run(main)
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    program = tmp_path / "program.py"
    program.write_text(_COMMAND)
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    (tmp_path / "a folder").mkdir()
    return program


@pytest.mark.parametrize(
    "flag",
    [
        "--file={at}/file",
        "--file={at}/folder/absent",
        "--file={at}/absent/absent",
        "--files={at}/file,{at}/absent",
        "--folder={at}/folder",
        "--folder={at}/absent/absent",
        "--folder=file://{at}/folder",
        "--folder=file://{at}/a%20folder",
        "--folder=gs://bucket/file",
        "--file=/dev/null",
    ],
)
def test_what_a_flag_names_may_exist_or_not(
    program: Path, tmp_path: Path, flag: str
) -> None:
    done = command.run(program, flag.format(at=tmp_path))
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("done\n")


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--file=~/x", "{home}/x\nNone\n{home}/default\n"),
        ("--folder=~", "None\n{home}\n{home}/default\n"),
        ("--files=~/x,y~/z,~/~", "None\nNone\n{home}/x y~/z {home}/~ {home}/default\n"),
        ("--place=~/x", "None\nNone\n{home}/x\n"),
        ("--place=~absent/x", "None\nNone\n~absent/x\n"),
        ("--place=file:///~/x", "None\nNone\nfile:///~/x\n"),
    ],
)
def test_a_tilde_that_the_shell_left_is_the_home_folder(
    program: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flag: str,
    told: str,
) -> None:
    home = tmp_path / "home"  # empty: what a real one holds may be of the wrong kind
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    done = command.run(program, flag)
    assert (done.code, done.err) == (0, "")
    assert done.out == "done\n" + told.format(home=home)


def test_a_place_may_be_a_file_or_a_folder(program: Path, tmp_path: Path) -> None:
    for name in ("file", "folder", "absent"):
        assert command.run(program, f"--place={tmp_path}/{name}").code == 0


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--file={at}/folder", "a file, got the folder {at}/folder; name a file"),
        ("--files={at}/file,{at}", "a file, got the folder {at}; name a file"),
        ("--file={at}/file/x", "a file in a folder, got the file {at}/file; "),
        ("--folder={at}/file", "a folder, got the file {at}/file; name a folder"),
        ("--folder=file://{at}/file", "a folder, got the file {at}/file; "),
        ("--folder={at}/file/x/y", "a folder in a folder, got the file {at}/file; "),
        ("--folder=/dev/null", "a folder, got the file /dev/null; name a folder"),
        (
            "--folder=~absent/x",
            "the home folder of a user of this machine, got ~absent;",
        ),
    ],
)
def test_the_wrong_kind_of_thing_is_one_line_about_the_flag(
    program: Path, tmp_path: Path, flag: str, told: str
) -> None:
    done = command.run(program, flag.format(at=tmp_path))
    assert (done.code, done.out) == (2, "")
    name = flag.partition("=")[0]
    assert done.err.startswith(f"program: {name}: expected {told.format(at=tmp_path)}")
    assert done.err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "kept"
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("absent", "expected a list, got no file {at}/absent; name a list"),
        ("folder", "expected a list, got {at}/folder: Is a directory; name a list"),
        ("file", "expected an item, got nothing in {at}/file; name a list"),
    ],
)
def test_what_fails_about_a_flag_names_it_and_what_to_do(
    tmp_path: Path, name: str, told: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    path = tmp_path / name
    with (
        pytest.raises(FlagValueError) as caught,
        path_flags.about("list", "a list", "name a list"),
    ):
        plain_file.read(path, 1)
        raise MalformedError(path, "an item", "nothing")
    assert str(caught.value) == f"--list: {told.format(at=tmp_path)}"


def test_error_about_a_flag_keeps_its_text() -> None:
    error = MalformedError("--list", "an item", "nothing")
    with (
        pytest.raises(MalformedError) as caught,
        path_flags.about("list", "a list", "name a list"),
    ):
        raise error
    assert caught.value is error
