"""Runs buildifier's format check and lint: BUILDIFIER FILE [FILE ...]."""

import subprocess
import sys

# Bazel 7 has these rules built in; the warnings are about later versions.
UNWANTED = "-native-cc-common,-native-cc-toolchain,-native-sh-binary"


def main() -> int:
    program, *files = sys.argv[1:]
    return subprocess.run(
        [
            *(program, "-mode=diff", "-diff_command=diff -u", "-lint=warn"),
            *(f"-warnings={UNWANTED}", *files),
        ],
        check=False,
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
