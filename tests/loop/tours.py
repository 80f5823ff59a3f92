"""The commands of a page, run as a person does who copies them."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.loop import binaries

# Runs a program that the test was built with. What a page builds was built before.
_BAZELW = """#!/bin/bash
[[ $1 == build ]] && exit 0
case $2 in
{cases}
*) echo "no such program: $2" >&2; exit 9 ;;
esac
program={root}/$program
exec "$program" "${{@:4}}"
"""


def list_commands(page: str) -> list[str]:
    """Lists the commands of a page, which are indented by four, each on one line."""
    page = re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)
    code = "\n".join(re.findall(r"^ {4}(.*)$", page, re.MULTILINE))
    return re.sub(r"\\\n\s*", "", code).splitlines()


def write_bazelw(folder: Path, programs: Mapping[str, str]) -> Path:
    """Writes what stands for `bazelw`, and knows these programs by their labels."""
    cases = "\n".join(f"{label}) program={p} ;;" for label, p in programs.items())
    bazelw = folder / "bazelw"
    bazelw.write_text(_BAZELW.format(cases=cases, root=binaries.root()))
    bazelw.chmod(0o755)
    return bazelw


def run(script: str, home: Path) -> str:
    """Runs commands of a person whose home is `home`; returns what they print."""
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=binaries.root(),
        env={**os.environ, "HOME": str(home)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
