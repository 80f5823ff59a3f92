"""The top of every command: flags in, exit code out, one line for each known error.

Exit codes: 0 done; 1 failed, with a one-line reason on stderr; 2 wrong usage, a known
error about a flag's value included; 130 interrupted by Ctrl-C; 141 the reader of stdout
went away, as a shell reports it.

`bazel run` starts a program among its own files and tells it where the user is;
relative paths in flags are meant from there.
"""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from absl import app, flags

from base.errors import ContinuonError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_USER_FOLDER = "BUILD_WORKING_DIRECTORY"
_RUNFILES = ("RUNFILES_DIR", "RUNFILES_MANIFEST_FILE")
_HELP = ("--help", "-help", "-h", "--helpshort", "--helpfull")
# How absl puts it, once for each flag that is required and absent.
_MISSING_FLAG = re.compile(r"Flag --(\w+) must have a value other than None")
# How a known error begins that is about what a flag says: `--robot: expected …`.
_ABOUT_A_FLAG = re.compile(r"--\w+: ")


def run(main: Callable[[list[str]], int | None]) -> None:
    """Parses the flags, calls `main(argv)` and exits with its code.

    Args:
        main: gets what is left of argv after the flags, program name first. None
            means 0. `absl.app.UsageError` means wrong usage, and so does a
            ContinuonError whose source is a flag. Any other ContinuonError or an
            OSError is one line; everything else is a defect and shows its traceback.
    """
    sys.exit(_exit_code(main))


def say(text: str) -> None:
    """Writes a result to stdout, at once, with a newline."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _exit_code(main: Callable[[list[str]], int | None]) -> int:
    try:
        if _wants_help(sys.argv):
            say(_help_text())
            return 0
        _go_to_the_user()
        rest = flags.FLAGS(sys.argv)
        code = main(rest) or 0
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _complain("interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Python flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
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


def _go_to_the_user() -> None:
    """Leaves the folder that Bazel started this in, once for the whole process tree."""
    folder = os.environ.pop(_USER_FOLDER, None)
    if folder is None:
        return
    # What was relative to the old folder must go on meaning the same.
    sys.path[:] = [str(Path(entry).absolute()) for entry in sys.path]
    for name in _RUNFILES:
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).absolute())
    os.chdir(folder)


def _complain(text: str) -> None:
    """Writes one line to stderr, whatever the text holds."""
    name = Path(sys.argv[0]).stem
    sys.stderr.write(f"{name}: {' '.join(text.split())}\n")
    sys.stderr.flush()


def _usage_text(error: Exception) -> str:
    missing = [f"--{name}" for name in _MISSING_FLAG.findall(str(error))]
    return f"missing {', '.join(missing)}" if missing else str(error)


def _os_error_text(error: OSError) -> str:
    reason = error.strerror or type(error).__name__
    if error.filename is None:
        return f"{reason}; check the disk and the permissions"
    return f"{error.filename}: {reason}; check the path, the disk and the permissions"


def _wants_help(argv: list[str]) -> bool:
    for argument in argv[1:]:
        if argument == "--":
            return False
        if argument in _HELP:
            return True
    return False


def _help_text() -> str:
    """Returns the command's module docstring and its own flags."""
    main_module = sys.modules["__main__"]
    parts = [(main_module.__doc__ or "").strip()]
    # absl heads a module's flags with its name, for the main module a path.
    _, _, own = flags.FLAGS.main_module_help().lstrip().partition("\n")
    if own:
        parts.append(f"Flags:\n{own}")
    return "\n\n".join(part for part in parts if part)
