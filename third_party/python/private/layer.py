"""Writes the entries of a lock that the locks below it do not have.

usage: layer.py LOCK OUTPUT [LOCK_BELOW ...]
"""

import re
import sys
from pathlib import Path


def split_entries(lock: str) -> dict[str, str]:
    """Returns the entries of a hashed requirements file by `name==version`."""
    found: dict[str, str] = {}
    key = ""
    for line in lock.splitlines():
        if line.startswith("#") or not line.strip():
            continue
        if not line[0].isspace():
            key = re.split(r"[ ;\\]", line, maxsplit=1)[0]
            found[key] = line
        elif not line.lstrip().startswith("#"):
            found[key] += "\n" + line
    return found


def main() -> None:
    lock, output, *below = map(Path, sys.argv[1:])
    held = {key for path in below for key in split_entries(path.read_text())}
    names_below = {key.split("==")[0]: key for key in held}
    kept = []
    for key, text in split_entries(lock.read_text()).items():
        if key in held:
            continue
        name = key.split("==")[0]
        if name in names_below:
            sys.exit(
                f"{lock}: expected {names_below[name]} as in the tree below, "
                f"got {key}; run `./bazelw run //third_party:lock`"
            )
        kept.append(text)
    output.write_text("\n".join(kept) + "\n")


main()
