"""Runs `ruff check` and `ruff format --check` on the Python files among those named."""

import subprocess
import sys
from pathlib import Path

import ruff


def main() -> int:
    program = Path(ruff.__file__).parents[1] / "bin" / "ruff"
    files = [name for name in sys.argv[1:] if Path(name).suffix in (".py", ".pyi")]
    common = ["--no-cache", "--config", "pyproject.toml"]
    check = subprocess.run([program, "check", *common, *files], check=False)
    form = subprocess.run([program, "format", "--diff", *common, *files], check=False)
    return check.returncode or form.returncode


if __name__ == "__main__":
    sys.exit(main())
