"""Renews the hashed locks of the Python trees: `./bazelw run //third_party:lock`.

All trees are first resolved together, and then one by one with those versions as
constraints, so that a package has one version in the whole repository. Each lock
begins with a digest of its requirement files and of its own text, which lock_test.py
checks.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PYTHON_VERSION = "3.13"
# The oldest C library whose wheels are used: that of Debian 11, on a workstation and
# on a Raspberry Pi.
X86_64 = "x86_64-manylinux_2_31"
AARCH64 = "aarch64-manylinux_2_31"
TREES = {
    "edge": ("edge.in", X86_64),
    "edge_aarch64": ("edge.in", AARCH64),
    "learner_aarch64": ("learner.in", AARCH64),
    "masks": ("masks.in", X86_64),
    "masks_aarch64": ("masks.in", AARCH64),
    "archives": ("archives.in", X86_64),
    "photographs": ("photographs.in", X86_64),
    "cameras": ("cameras.in", X86_64),
    "speech": ("speech.in", X86_64),
    "lerobot": ("lerobot.in", X86_64),
    "rerun": ("rerun.in", X86_64),
    "sim": ("sim.in", X86_64),
    "model": ("model.in", X86_64),
    "cloud": ("cloud.in", X86_64),
    "exchange": ("exchange.in", X86_64),
    "notebook": ("notebook.in", X86_64),
    "dev": ("dev.in", X86_64),
    "build": ("build.in", X86_64),
    "uv": ("uv.in", X86_64),
}
TOGETHER = ("notebook.in", "dev.in")
# Each package of these is named there: what others ask for is not loaded.
WITHOUT_DEPENDENCIES = (
    "cameras.in",
    "exchange.in",
    "lerobot.in",
    "masks.in",
    "photographs.in",
    "rerun.in",
    "speech.in",
)


def requirement_lines(path: Path) -> list[str]:
    """Returns the lines of a requirements file and its includes, without comments."""
    lines: list[str] = []
    for line in path.read_text().splitlines():
        text = line.split("#", 1)[0].strip()
        if text.startswith("-r "):
            lines += requirement_lines(path.parent / text[3:].strip())
        elif text:
            lines.append(text)
    return lines


def header(path: Path, platform: str, body: str) -> str:
    """Returns the first line of a lock with text `body` made from `path`."""
    text = "\n".join([platform, *sorted(set(requirement_lines(path))), body])
    return f"# made by //third_party:lock from {path.name}, sha256 " + (
        hashlib.sha256(text.encode()).hexdigest()
    )


def compile_lock(uv: Path, inputs: list[Path], platform: str, *more: str) -> str:
    """Resolves requirements with uv and returns the text of the lock.

    Raises:
        SystemExit: uv cannot resolve them; its message is on stderr.
    """
    done = subprocess.run(
        [
            *(uv, "pip", "compile", "--quiet", "--generate-hashes", "--no-header"),
            *("--python-version", PYTHON_VERSION, "--python-platform", platform),
            *("--no-annotate", "--no-emit-index-url", "--upgrade", *more, *inputs),
        ],
        check=False,
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        names = ", ".join(path.name for path in inputs)
        sys.exit(f"lock: uv could not resolve {names}; correct them and run it again")
    return done.stdout


def main() -> None:
    if len(sys.argv) != 2 or sys.argv[1] in ("-h", "--help"):
        sys.exit("usage: ./bazelw run //third_party:lock")
    workspace = os.environ.get("BUILD_WORKSPACE_DIRECTORY")
    if not workspace:
        sys.exit("lock: run it as `./bazelw run //third_party:lock`")
    folder = Path(workspace) / "third_party/python/locks"
    uv = Path(sys.argv[1]).absolute()
    with tempfile.TemporaryDirectory() as scratch:
        union = Path(scratch) / "union.txt"
        print("resolving all trees together", file=sys.stderr)
        union.write_text(compile_lock(uv, [folder / n for n in TOGETHER], X86_64))
        versions = Path(scratch) / "constraints.txt"
        versions.write_text(
            "".join(
                line.split(" ")[0] + "\n"
                for line in union.read_text().splitlines()
                if "==" in line and not line.startswith((" ", "#"))
            )
        )
        for tree, (name, platform) in TREES.items():
            print(f"resolving {tree}", file=sys.stderr)
            source = folder / name
            alone = ("--no-deps",) if name in WITHOUT_DEPENDENCIES else ()
            text = compile_lock(uv, [source], platform, "-c", str(versions), *alone)
            lock = folder / f"{tree}.txt"
            temporary = lock.with_suffix(".new")
            temporary.write_text(f"{header(source, platform, text)}\n{text}")
            temporary.rename(lock)
            print(f"wrote {lock.name}", file=sys.stderr)


if __name__ == "__main__":
    main()
