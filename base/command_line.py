"""The top of every command: flags in, exit code out, one line for each known error.

Every command has `--help` and `--version`; the latter prints the project's version and,
if it is known, the commit.

Exit codes: 0 done; 1 failed, with a one-line reason on stderr; 2 wrong usage, a known
error about a flag's value included; 130 interrupted by Ctrl-C; 141 the reader of stdout
closed the pipe, as a shell reports it.

`bazel run` starts a program in its runfiles folder and passes the user's folder in an
environment variable; relative paths in flags are relative to the user's folder, and
`~` in them is the user's home folder (`base/path_flags.py`).
"""

from base.interrupt import EXIT_INTERRUPTED as EXIT_INTERRUPTED

import contextlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from absl import app, flags

from base import interrupt, path_flags, project_version
from base.errors import ContinuonError, printable, printable_lines

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_BROKEN_PIPE = 141

_USER_FOLDER = "BUILD_WORKING_DIRECTORY"
_RUNFILES = ("RUNFILES_DIR", "RUNFILES_MANIFEST_FILE")
_HELP = ("--help", "-help", "-h", "--helpshort", "--helpfull")
_VERSION = ("--version", "-version")
# absl's wordings: one for each required flag that is missing, a flag without a value,
# and the beginning of an error about the value of one.
_MISSING_FLAG = re.compile(r"Flag --(\w+) must have a value other than None")
_MISSING_VALUE = re.compile(r"Missing value for flag -*(\w+)")
_WRONG_VALUE = re.compile(r"flag --(\w+)=")
_GIVE_ONE = "expected a value, got none; give one or leave the flag out"
# Of a number of any unit. As bytes, nanoseconds or parts of a million it is still one.
_LARGEST = 1e15
# The beginning of a known error about the value of a flag: `--robot: expected …`.
_ABOUT_A_FLAG = re.compile(r"--\w+: ")


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parses the flags, calls `main(argv)` and exits with its code.

    Args:
        main: receives what is left of argv after the flags, program name first, and
            returns the exit code; None means 0. `absl.app.UsageError` means wrong
            usage, and so does a ContinuonError whose source is a flag. Any other
            ContinuonError or an OSError is printed as one line; every other exception
            is a defect and shows its traceback.
    """
    code = _exit_code(main)
    interrupt.end_at_once()  # Python still has to end threads and close files
    for stream in (sys.stdout, sys.stderr):
        _let_go_if_gone(stream)
    sys.exit(code)


def _let_go_if_gone(stream: TextIO) -> None:
    """Lets go of a terminal or pipe that has closed.

    Python flushes it once more at exit, and a failure of that would be the exit code.
    """
    try:
        stream.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def say(text: str) -> None:
    """Writes a result and a newline to stdout, with nothing that steers a terminal."""
    sys.stdout.write(f"{printable_lines(text)}\n")
    sys.stdout.flush()


def _exit_code(main: Callable[[list[str]], int | None]) -> int:
    try:
        interrupt.raise_again()
        if _asks_for(sys.argv, _HELP):
            say(_help_text())
            return 0
        if _asks_for(sys.argv, _VERSION):
            say(project_version.version_text(_program()))
            return 0
        _enter_user_folder()
        rest = _parse_flags()
        _require_values()
        _require_finite()
        path_flags.settle()
        code = main(rest) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        interrupt.end_at_once()
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_BROKEN_PIPE
    except (flags.Error, app.UsageError) as e:
        _complain(f"{_usage_text(e)}; see --help")
        return EXIT_USAGE
    except ContinuonError as e:
        _complain(str(e))
        return EXIT_USAGE if _ABOUT_A_FLAG.match(str(e)) else EXIT_FAILED
    except OSError as e:
        _complain(_os_error_text(e))
        return EXIT_FAILED


def _enter_user_folder() -> None:
    """Changes to the user's folder, once for the whole process tree."""
    folder = os.environ.pop(_USER_FOLDER, None)
    if folder is None:
        return
    # Paths relative to the old folder must keep their meaning.
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    for name in _RUNFILES:
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    os.chdir(folder)


def _parse_flags() -> list[str]:
    """Parses the flags; returns what is left of argv."""
    try:
        return flags.FLAGS(sys.argv)
    except ValueError as e:  # of a flag such as --noconsent=yes
        raise app.UsageError(f"{e}; leave the value out") from e


def _require_values() -> None:
    """Refuses `--flag=` with nothing behind it, as an empty variable of a shell makes.

    Silently taking the default instead would, for example, train on another dataset.
    """
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present and flag.value in ("", [], [""]):
            raise app.UsageError(f"--{name}: {_GIVE_ONE}")


def _require_finite() -> None:
    """Refuses what is no number, and one whose million-fold is none.

    absl takes `nan` for a number within any bounds.
    """
    for name in flags.FLAGS:
        value = flags.FLAGS[name].value
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, float) and not abs(one) <= _LARGEST:
                reach = f"from {-_LARGEST:g} to {_LARGEST:g}"
                raise app.UsageError(f"--{name}: expected a number {reach}, got {one}")


def _program() -> str:
    return Path(sys.argv[0]).stem


def _complain(text: str) -> None:
    """Writes the text to stderr as one line, whatever characters it has."""
    with contextlib.suppress(OSError):  # nobody is there any more
        sys.stderr.write(
            f"{printable(_program())}: {printable(' '.join(text.split()))}\n"
        )
        sys.stderr.flush()


def _usage_text(error: Exception) -> str:
    """Says what absl says of a flag in the words of this project's errors."""
    text = str(error)
    if missing := [f"--{name}" for name in _MISSING_FLAG.findall(text)]:
        return f"missing {', '.join(missing)}"
    if found := _MISSING_VALUE.match(text):
        return f"--{found[1]}: {_GIVE_ONE}"
    if isinstance(error, flags.UnrecognizedFlagError):
        similar = re.findall(r"[\w-]+", text.partition("Did you mean: ")[2])
        tip = f"; did you mean {' or '.join(f'--{one}' for one in similar)}?"
        return f"unknown flag --{error.flagname}{tip if similar else ''}"
    if (found := _WRONG_VALUE.match(text)) and error.__context__ is not None:
        got = text[found.end() :].removesuffix(f": {error.__context__}")
        return f"--{found[1]}: expected {_describe_values(found[1])}, got {got!r}"
    return text


def _describe_values(name: str) -> str:
    """Says which values a flag takes."""
    parser = flags.FLAGS[name].parser
    if isinstance(parser, flags.BooleanParser):
        return "true or false"
    if isinstance(parser, flags.EnumParser):
        return f"one of {', '.join(parser.enum_values)}"
    if isinstance(parser, flags.EnumClassParser):
        return f"one of {', '.join(parser.member_names)}"
    if not isinstance(parser, flags.IntegerParser | flags.FloatParser):
        return "another value"
    kind = "a whole number" if isinstance(parser, flags.IntegerParser) else "a number"
    low, high = parser.lower_bound, parser.upper_bound
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    if low is not None:
        return f"{kind} of at least {low}"
    return kind if high is None else f"{kind} of at most {high}"


def _os_error_text(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"{reason}; check the disk and the permissions"
    if isinstance(error, IsADirectoryError):
        return f"{error.filename}: expected a file, got a folder; name a file"
    if isinstance(error, FileExistsError | NotADirectoryError):
        path = Path(os.fsdecode(error.filename))
        for part in (path, *path.parents):
            if part.exists() and not part.is_dir():
                return f"{part}: expected a folder, got a file; name a folder"
    return f"{error.filename}: {reason}; check the path, the disk and the permissions"


def _asks_for(argv: list[str], names: tuple[str, ...]) -> bool:
    """Tells whether one of the names is among the flags, whatever else is."""
    for argument in argv[1:]:
        if argument == "--":
            return False
        if argument in names:
            return True
    return False


def _help_text() -> str:
    """Returns the command's module docstring and its own flags."""
    main_module = sys.modules["__main__"]
    parts = [(main_module.__doc__ or "").strip()]
    # absl begins the list with the module's name, which for the main module is a path.
    _, _, own = flags.FLAGS.main_module_help().lstrip().partition("\n")
    if own:
        parts.append(f"Flags:\n{own}")
    return "\n\n".join(part for part in parts if part)
