"""Collects the licences of what the bundle ships into one text.

    notices.py --output=FILE --licence=FILE FILE...

FILE is a file of a Python distribution's metadata (`NAME-VERSION.dist-info/...`) or the
copyright file of a Debian package (`copyright/NAME`). The text of a distribution that
has it elsewhere lies in `licences/` here, in a folder of the same name. A distribution
without a licence text is listed with the licence that its metadata names, and one that
names none is an error, so that nothing is shipped of which the licence is not known.
"""

import argparse
import email
import re
import sys
from pathlib import Path

_TEXT = re.compile(r"(licen[cs]e|copying|notice|authors)[^/]*", re.IGNORECASE)
_RULE = "=" * 80
_APACHE = ("Apache-2.0", "Apache 2.0", "Apache License 2.0", "Apache Software License")


def main(argv: list[str]) -> int:
    """Writes the text; returns 1 if a licence is not known."""
    parser = argparse.ArgumentParser(fromfile_prefix_chars="@")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--licence", type=Path, required=True)
    parser.add_argument("files", type=Path, nargs="+")
    flags = parser.parse_args(argv)
    try:
        sections = [
            *find_debian_packages(flags.files),
            *find_distributions(flags.files, flags.licence.read_text()),
        ]
    except ValueError as e:
        print(f"notices: {e}", file=sys.stderr)
        return 1
    flags.output.write_text("".join(sections))
    return 0


def find_debian_packages(files: list[Path]) -> list[str]:
    """Returns a section for each Debian package, in order of their names."""
    return [
        _section(f"{file.name} (Debian package)", [file.read_text(errors="replace")])
        for file in sorted(files, key=lambda file: file.name)
        if file.parent.name == "copyright"
    ]


def find_distributions(files: list[Path], apache: str) -> list[str]:
    """Returns a section for each Python distribution, in order of their names.

    Args:
        files: the files of their metadata.
        apache: text of the Apache License 2.0, for those that only name it.

    Raises:
        ValueError: a distribution has no licence text and names no known licence.
    """
    texts: dict[str, list[Path]] = {}
    folders: dict[str, Path] = {}
    for file in files:
        folder = next(
            (one for one in file.parents if one.name.endswith(".dist-info")), None
        )
        if folder is None:
            continue
        texts.setdefault(folder.name, [])
        if file == folder / "METADATA":
            folders[folder.name] = folder
        if _TEXT.fullmatch(file.name):
            texts[folder.name].append(file)
    return [
        _distribution(folders[name], sorted(texts[name]), apache)
        for name in sorted(texts)
    ]


def _distribution(folder: Path, files: list[Path], apache: str) -> str:
    metadata = email.message_from_string((folder / "METADATA").read_text())
    names = [
        metadata["License-Expression"],
        metadata["License"],
        *(
            one.rpartition(" :: ")[2]
            for one in metadata.get_all("Classifier", [])
            if one.startswith("License ::")
        ),
    ]
    named = next((name for name in names if name and "\n" not in name), "")
    texts = [file.read_text(errors="replace") for file in files]
    if not texts and named in _APACHE:
        texts = [apache]
    if not texts:
        raise ValueError(
            f"{folder}: expected a licence text, or the Apache License in METADATA, "
            f"got {named or 'none'}; find the text before shipping it"
        )
    title = f"{metadata['Name']} {metadata['Version']}"
    return _section(f"{title} ({named})" if named else title, texts)


def _section(title: str, texts: list[str]) -> str:
    body = "\n\n".join(text.strip() for text in texts)
    return f"{_RULE}\n{title}\n{_RULE}\n\n{body}\n\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
