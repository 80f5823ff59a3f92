"""A folder of TFDS: which one it is, what it says of itself, and its records.

Records are taken from their files one by one: one that is damaged costs no other.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, Final

from base.errors import OversizedError
from cloud.errors import BadEpisodeError, SourceError
from cloud.exchange import quiet_tensorflow
from rlds import tfrecord
from rlds.errors import CorruptRecordError

FEATURES_FILE: Final = "features.json"
_INFO_FILE: Final = "dataset_info.json"
_LIMIT_BYTES: Final = 2 * 1024**3 - 1
"""Largest record: what protobuf parses."""


def open_builder(folder: pathlib.Path) -> Any:  # noqa: ANN401 - TFDS has no types
    """Opens the folder, or its one version folder, with TFDS.

    Raises:
        SourceError: it is none that TFDS opens, or holds no TFRecord files.
    """
    tfds = quiet_tensorflow.load_tfds()
    place = find_version(folder)
    try:
        builder = tfds.builder_from_directory(str(place))
        kind = builder.info.file_format
        splits = dict(builder.info.splits)
    except Exception as e:
        raise SourceError(place, "a dataset that TFDS opens", e) from e
    if kind is None or kind.value != "tfrecord":
        got = "no format" if kind is None else kind.value
        raise SourceError(
            place,
            "episodes in TFRecord files",
            got,
            "write it again with file_format=tfrecord",
        )
    if not splits:
        raise SourceError(place, "episodes", "no split in dataset_info.json")
    return builder


def find_version(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder with the features: the given one, or the only one below.

    Raises:
        SourceError: there are several.
    """
    if (folder / FEATURES_FILE).is_file():
        return folder
    below = sorted(path.parent for path in folder.glob(f"*/{FEATURES_FILE}"))
    if len(below) == 1:
        return below[0]
    raise SourceError(
        folder,
        f"a folder with {FEATURES_FILE}",
        f"{len(below)} below it: {[path.name for path in below]}" if below else "none",
        "name one of them" if below else "name a folder of TFDS or of LeRobot",
    )


def list_files(
    builder: Any,  # noqa: ANN401 - TFDS has no types
    folder: pathlib.Path,
) -> tuple[pathlib.PurePosixPath, ...]:
    """Returns every file that is read, relative to the folder."""
    place = pathlib.Path(str(builder.data_dir))
    shards = [
        pathlib.Path(str(path)).relative_to(place)
        for info in builder.info.splits.values()
        for path in info.filepaths
    ]
    own = [pathlib.Path(_INFO_FILE), pathlib.Path(FEATURES_FILE)]
    prefix = place.relative_to(folder)
    return tuple(pathlib.PurePosixPath(prefix / path) for path in [*own, *shards])


def describe(info: Any) -> dict[str, str]:  # noqa: ANN401 - TFDS has no types
    """Returns what a dataset says of its origin: version, licence, citation."""
    said = {
        "version": str(info.version or ""),
        "description": str(info.description or ""),
        "homepage": str(info.homepage or ""),
        "citation": str(info.citation or ""),
        "licence": str(getattr(info.redistribution_info, "license", "") or ""),
    }
    return {name: text for name, text in said.items() if text}


def read_file(path: pathlib.Path, count: int) -> Iterator[bytes | BadEpisodeError]:
    """Yields `count` records of a file, or what is wrong with each.

    A record whose checksum is wrong costs no other; after a damaged length nothing in
    the file can be found.
    """
    read = 0
    try:
        with path.open("rb") as stream:
            while read < count:
                before = read
                try:
                    for record in tfrecord.read_stream(stream, path.name, _LIMIT_BYTES):
                        yield record
                        read += 1
                except (CorruptRecordError, OversizedError) as e:
                    yield BadEpisodeError(path.name, e.expected, e.got)
                    read += 1
                    if "of the record" not in e.expected:
                        break
                if read == before:
                    break
    except OSError as e:
        reason = e.strerror or type(e).__name__
        yield BadEpisodeError(path.name, "a readable file", reason)
        read += 1
    for _ in range(count - read):
        yield BadEpisodeError(path.name, f"{count} records in {path.name}", "its end")
