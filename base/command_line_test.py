import functools
import os
import pty
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import command_line, project_version
from base.errors import ContinuonError, MalformedError, printable, printable_lines
from base.testing import command
from base.testing.command import Finished

Run = Callable[..., Finished]

_COMMAND = '''
"""Says hello."""
import enum, os, signal, sys
from absl import app, flags
from base import command_line
from base.errors import ContinuonError, MalformedError

_COUNT = flags.DEFINE_integer("count", 1, "times to say it", lower_bound=0)
_LOUD = flags.DEFINE_bool("loud", False, "whether to say it loudly")
_LENGTH = flags.DEFINE_float("length", 1.0, "in seconds")
_LENGTHS = flags.DEFINE_multi_float("lengths", [1.0], "in seconds")
_SHARE = flags.DEFINE_float("share", 1.0, "of it", lower_bound=0.0, upper_bound=1.0)
_WORD = flags.DEFINE_enum("word", "hi", ["hi", "hello"], "what it says")
_PACE = flags.DEFINE_enum_class("pace", None, enum.Enum("Pace", ["FAST", "SLOW"]), "")
_HOW = flags.DEFINE_string("how", "well", "how it ends")
_NAME = flags.DEFINE_string("name", None, "who", required=True)
_FOLDER = flags.DEFINE_string("folder", None, "where", required=True)

class OtherError(ContinuonError):
    pass

def main(argv):
    if _HOW.value == "malformed":
        raise MalformedError("a.json", "an object", "a\\nlist")
    if _HOW.value == "other":
        raise OtherError("another folder", "quiet", "its error", "listen")
    if _HOW.value == "flag":
        raise MalformedError("--how", "another word", "flag", "choose one")
    if _HOW.value == "usage":
        raise app.UsageError("name a file")
    if _HOW.value == "os":
        open("/nonexistent/file")
    if _HOW.value == "folder":
        os.makedirs(os.path.join(_FOLDER.value, "keys"))
    if _HOW.value == "write":
        open(_FOLDER.value, "w")
    if _HOW.value == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
    if _HOW.value == "defect":
        raise KeyError("defect")
    if _HOW.value == "where":
        command_line.say(os.getcwd())
        command_line.say(os.environ.get("RUNFILES_DIR", "none"))
        command_line.say(os.environ.get("BUILD_WORKING_DIRECTORY", "gone"))
        return
    for _ in range(_COUNT.value):
        command_line.say("hello " + " ".join(argv[1:]))

command_line.run(main)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "hello.py"
    path.write_text(textwrap.dedent(_COMMAND))
    return path


@pytest.fixture
def run(script: Path) -> Run:
    return functools.partial(command.run, script, "--name=n", "--folder=f")


def test_success_exits_zero_and_main_receives_the_remaining_arguments(
    run: Run,
) -> None:
    done = run("--count=2", "you")
    assert (done.code, done.err) == (0, "")
    assert done.out == "hello you\nhello you\n"


def test_help_shows_docstring_flags_and_defaults_and_exits_zero(run: Run) -> None:
    done = run("--help")
    assert (done.code, done.err) == (0, "")
    assert "Says hello." in done.out
    assert "--count" in done.out
    assert "times to say it" in done.out
    assert "default: '1'" in done.out
    assert "/" not in done.out


def test_version_is_printed_whatever_flags_are_missing(script: Path) -> None:
    done = command.run(script, "--version")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"hello (ContinuonBrain) {project_version.VERSION}")
    assert done.out.count("\n") == 1


@pytest.mark.parametrize(
    ("how", "line"),
    [
        ("malformed", "hello: a.json: expected an object, got a list; replace"),
        ("other", "hello: another folder: expected quiet, got its error"),
        ("os", "hello: /nonexistent/file: No such file or directory; check"),
    ],
)
def test_a_known_error_is_one_line_on_stderr_and_exit_one(
    run: Run, how: str, line: str
) -> None:
    done = run(f"--how={how}")
    assert done.code == 1
    assert done.out == ""
    assert done.err.startswith(line)
    assert done.err.count("\n") == 1


def test_a_known_error_about_a_flag_is_wrong_usage(run: Run) -> None:
    done = run("--how=flag")
    assert (done.code, done.out) == (2, "")
    assert done.err == "hello: --how: expected another word, got flag; choose one\n"


@pytest.mark.parametrize(
    "arguments", [["--nosuch=1"], ["--count=x"], ["--count=-1"], ["--how=usage"]]
)
def test_wrong_usage_is_one_line_and_exit_two(run: Run, arguments: list[str]) -> None:
    done = run(*arguments)
    assert done.code == 2
    assert "--help" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--count=x", "--count: expected a whole number of at least 0, got 'x'"),
        ("--count=-1", "--count: expected a whole number of at least 0, got '-1'"),
        ("--count=1: 2", "--count: expected a whole number of at least 0, got '1: 2'"),
        ("--length=long", "--length: expected a number, got 'long'"),
        ("--length=nan", "--length: expected a number from -1e+15 to 1e+15, got nan"),
        ("--length=inf", "--length: expected a number from -1e+15 to 1e+15, got inf"),
        ("--length=-inf", "--length: expected a number from -1e+15 to 1e+15, got -inf"),
        (
            "--length=1e308",
            "--length: expected a number from -1e+15 to 1e+15, got 1e+308",
        ),
        ("--lengths=inf", "--lengths: expected a number from -1e+15 to 1e+15, got inf"),
        ("--share=nan", "--share: expected a number from -1e+15 to 1e+15, got nan"),
        ("--share=2", "--share: expected a number from 0.0 to 1.0, got '2'"),
        ("--word=hey", "--word: expected one of hi, hello, got 'hey'"),
        ("--pace=medium", "--pace: expected one of fast, slow, got 'medium'"),
        ("--loud=maybe", "--loud: expected true or false, got 'maybe'"),
        ("--noloud=1", "--noloud=1 does not take an argument; leave the value out"),
        ("--cuont=1", "unknown flag --cuont; did you mean --count?"),
        ("--xyzzy", "unknown flag --xyzzy"),
        ("--count", "--count: expected a value, got none; give one or leave the flag"),
    ],
)
def test_a_wrong_flag_is_named_with_what_was_expected(
    run: Run, flag: str, told: str
) -> None:
    done = run(flag)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"hello: {told}")
    assert done.err.endswith("; see --help\n")
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("flag", ["--name", "--folder"])
def test_a_flag_with_nothing_behind_it_is_wrong_usage(script: Path, flag: str) -> None:
    done = command.run(script, "--name=n", "--folder=f", f"{flag}=")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"hello: {flag}: expected a value, got none; give one")


@pytest.mark.parametrize("below", ["", "/store", "/store/deep"])
def test_a_file_in_the_place_of_a_folder_is_named(script: Path, below: str) -> None:
    file = script.with_name("file")
    file.write_text("kept")
    done = command.run(script, "--name=n", f"--folder={file}{below}", "--how=folder")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"hello: {file}: expected a folder, got a file; name a folder\n"
    assert file.read_text() == "kept"


def test_a_folder_in_the_place_of_a_file_is_named(script: Path) -> None:
    done = command.run(script, "--name=n", f"--folder={script.parent}", "--how=write")
    expected = "expected a file, got a folder; name a file"
    assert (done.code, done.err) == (1, f"hello: {script.parent}: {expected}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "hello: missing --name, --folder; see --help\n"),
        (["--name=n"], "hello: missing --folder; see --help\n"),
    ],
)
def test_missing_required_flags_are_named(
    script: Path, arguments: list[str], line: str
) -> None:
    done = command.run(script, *arguments)
    assert (done.code, done.out, done.err) == (2, "", line)


def test_a_defect_keeps_its_traceback(run: Run) -> None:
    done = run("--how=defect")
    assert done.code == 1
    assert "Traceback" in done.err


def test_ctrl_c_exits_130_without_a_traceback(run: Run) -> None:
    done = run("--how=interrupt")
    assert done.code == 128 + signal.SIGINT
    assert done.err == "hello: interrupted\n"


def test_a_closed_pipe_exits_141_without_a_message(script: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, script, "--name=n", "--folder=f"],
        env=environment,
        stdout=write,
        stderr=subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(write)
    assert process.returncode == 141
    assert process.stderr == b""


@pytest.mark.parametrize("is_all_gone", [False, True])
def test_a_terminal_that_has_closed_is_a_failure_and_no_other_exit_code(
    script: Path, is_all_gone: bool
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    person, terminal = pty.openpty()
    os.close(person)
    process = subprocess.run(
        [sys.executable, script, "--name=n", "--folder=f"],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal if is_all_gone else subprocess.PIPE,
        timeout=60,
        check=False,
    )
    os.close(terminal)
    assert process.returncode == 1
    assert is_all_gone or process.stderr.startswith(b"hello: ")


def test_relative_paths_start_at_the_folder_where_the_user_ran_bazel(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runfiles, user = tmp_path / "runfiles", tmp_path / "user"
    runfiles.mkdir()
    user.mkdir()
    monkeypatch.chdir(runfiles)
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(user))
    monkeypatch.setenv("RUNFILES_DIR", "beside")
    done = run("--how=where")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [str(user), str(runfiles / "beside"), "gone"]


def test_outside_bazel_the_working_directory_does_not_change(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BUILD_WORKING_DIRECTORY", raising=False)
    done = run("--how=where")
    assert done.out.splitlines()[0] == str(tmp_path)


def test_a_missing_user_folder_is_a_one_line_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUILD_WORKING_DIRECTORY", str(tmp_path / "gone"))
    done = run()
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert str(tmp_path / "gone") in done.err


def test_text_holds_source_expected_got_and_remedy() -> None:
    error = MalformedError("a.json", "an object", "a list", "write an object")
    assert str(error) == "a.json: expected an object, got a list; write an object"


def test_a_long_path_keeps_its_file_name() -> None:
    path = "/home/" + "very-long-folder/" * 40 + "canary.json"
    text = str(ContinuonError(path, "these bytes", "others", "copy it again"))
    assert text.startswith("/home/very-long-folder/")
    assert "canary.json: expected these bytes, got others; copy it again" in text
    assert len(text) < 400


def test_text_of_hostile_values_stays_one_short_printable_line() -> None:
    text = str(ContinuonError("file", "text", "a\nb\x1b[2J\u202e" + "x" * 10_000))
    assert "\n" not in text
    assert text.isprintable()
    assert len(text) < 500


def test_a_hostile_value_is_cut_to_a_fixed_length() -> None:
    error = ContinuonError("a", "text", "\x1b[2J\n" * 1000)
    assert str(error).isprintable()
    assert len(error.got) <= 303


@pytest.mark.parametrize(
    "text", ["\x1b]0;title\x07", "\x9b2J", "a\rb", "\u202eabc", "\0"]
)
def test_what_is_said_and_what_is_complained_of_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    command_line.say(f"{text}\nsecond line")
    command_line._complain(f"{text} failed")
    said, complained = capsys.readouterr()
    assert said.count("\n") == 2
    assert said.replace("\n", "").isprintable()
    assert complained.rstrip("\n").isprintable()


@given(st.text())
def test_a_printable_text_has_the_same_length_and_no_control_character(
    text: str,
) -> None:
    shown, lines = printable(text), printable_lines(text)
    assert len(shown) == len(lines) == len(text)
    assert shown.isprintable()
    assert lines.replace("\n", "").isprintable()
    assert lines.count("\n") == text.count("\n")
    assert printable(shown) == printable(lines) == shown


def test_a_line_break_from_outside_makes_no_second_line() -> None:
    assert printable("nightly\nrobot: all is well") == "nightly?robot: all is well"


_SLOW_COMMAND = """
import base.interrupt
from base import command_line
import asyncio, concurrent.futures, email.message, http.server, multiprocessing
import sqlite3, unittest.mock, urllib.request, xml.dom.minidom
import time

def main(argv):
    print("importtime is over", file=sys.stderr)
    time.sleep(60)

import atexit, sys
if "ends" in sys.argv:
    def end():
        print("ending", file=sys.stderr, flush=True)
        time.sleep(60)

    atexit.register(end)
    command_line.run(lambda argv: None)
command_line.run(main)
"""


@pytest.mark.parametrize(
    ("marker", "then"),
    [
        ("base.interrupt", 0),  # the first import of every command
        ("base.interrupt", 3),
        ("base.interrupt", 30),
        ("base.command_line", 0),
        ("asyncio", 0),
        ("xml.dom.minidom", 0),
        ("is over", 0),  # in main
        ("ending", 0),  # while Python ends
    ],
)
def test_ctrl_c_at_any_moment_of_the_start_and_the_end_shows_no_traceback(
    tmp_path: Path, marker: str, then: int
) -> None:
    program = tmp_path / "slow.py"
    program.write_text(_SLOW_COMMAND)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    arguments = ["ends"] if marker == "ending" else []
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", program, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stderr is not None
        for line in child.stderr:
            if marker in line:
                break
        for _ in range(then):
            child.stderr.readline()
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
        assert child.wait(timeout=60) == command_line.EXIT_INTERRUPTED
    assert "slow: interrupted\n" in rest
    assert "Traceback" not in rest
    assert "KeyboardInterrupt" not in rest


def test_a_command_whose_shell_ignores_ctrl_c_ignores_it_too(tmp_path: Path) -> None:
    program = tmp_path / "slow.py"
    program.write_text(_SLOW_COMMAND.replace("time.sleep(60)", "time.sleep(0.5)"))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        ["sh", "-c", 'trap "" INT; exec "$0" "$1"', sys.executable, program],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        assert child.stderr is not None
        assert "is over" in child.stderr.readline()
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=60) == 0


def test_importing_the_top_of_a_command_elsewhere_changes_no_signal() -> None:
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
