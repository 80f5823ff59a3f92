"""Compiles Python sources; a Bazel action runs it.

Arguments: each source, followed by the bytecode file to write.
"""

import py_compile
import sys


def main() -> None:
    """Writes the files.

    Bytecode holds the hash of its source, so it is the same on every machine, and a
    source that was changed since is compiled again by whoever imports it.
    """
    paths = iter(sys.argv[1:])
    for source, bytecode in zip(paths, paths, strict=True):
        py_compile.compile(
            source,
            bytecode,
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
        )


if __name__ == "__main__":
    main()
