"""Runs pytest on the files named on the command line, as a Bazel test expects."""

import faulthandler
import os
import signal
import sys
from pathlib import Path

import pytest


def main() -> int:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        # pytest has its own answer to Ctrl-C, and tests send it to themselves.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # A test that hangs says where, when Bazel's patience is over. pytest takes the
    # descriptor of stderr for itself, so this is another one of the same file.
    faulthandler.register(signal.SIGTERM, file=os.dup(2), chain=True)
    # Installed plugins cost start-up time, and none is used.
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    report = os.environ.get("XML_OUTPUT_FILE")
    arguments = ["-p", "no:cacheprovider", "--import-mode=importlib", "-W", "error"]
    # jax, TensorFlow and similar packages warn while they are imported; only warnings
    # caused by our own code are errors.
    arguments += ["-W", "ignore::DeprecationWarning", "-W", "ignore::FutureWarning"]
    arguments += ["-W", "ignore::pytest.PytestUnraisableExceptionWarning"]
    arguments += ["--rootdir", str(Path.cwd()), "-c", os.devnull, "-v", "--tb=short"]
    arguments += ["-o", "markers=long: takes minutes; a target of its own runs it"]
    if report:
        arguments.append(f"--junitxml={report}")
    if os.environ.get("TESTBRIDGE_TEST_ONLY"):
        arguments.append("-k=" + os.environ["TESTBRIDGE_TEST_ONLY"])
    # Bazel clears this folder.
    if temporary := os.environ.get("TEST_TMPDIR"):
        arguments.append(f"--basetemp={temporary}/pytest")
        # What JAX compiles, it compiles once for all tests and processes of a file.
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{temporary}/compiled"
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
        os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    return pytest.main(arguments + sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
