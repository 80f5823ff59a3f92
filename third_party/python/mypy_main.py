"""Runs `mypy --strict` on the files named, configured by pyproject.toml."""

import sys

from mypy import api


def main() -> int:
    out, err, code = api.run(
        ["--config-file", "pyproject.toml", "--cache-dir=/dev/null", *sys.argv[1:]]
    )
    sys.stdout.write(out)
    sys.stderr.write(err)
    return code


if __name__ == "__main__":
    sys.exit(main())
