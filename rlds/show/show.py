"""Shows recorded episodes: as pages with curves, as a moving picture, or for Rerun.

    ./bazelw run //rlds:show -- EPISODE --output=episode.html
    ./bazelw run //rlds:show -- EPISODE --output=episode.gif
    ./bazelw run --config=rerun //rlds:show -- EPISODE --output=episode.rrd
    ./bazelw run //rlds:show -- FOLDER --output=FOLDER_OF_PAGES

EPISODE is the file of an episode, or the folder of one as a store of raw episodes has
it. FOLDER has several: what //edge:record wrote, a robot's private or shared folder, or
a dataset version. They become one page each and an index.html that lists them.

A page is one file that loads nothing, for a phone as for a desk. It holds what the
episode holds: that of a raw episode may show people and places, so only its owner can
read the file. What cannot be shown is named, the rest is shown, and the exit code is 1.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import itertools
import os
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final

from absl import app, flags

from base import command_line, durable_file, path_flags
from base.errors import ContinuonError
from rlds import spool_flags
from rlds.errors import ShowError
from rlds.show import channel_names, found, overview, page, rerun_recording
from rlds.show.channel_names import ChannelNames
from rlds.show.found import Found
from rlds.tfds_directory import EPISODE_SUFFIX

_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "file that ends in .html, .gif or .rrd (for the Rerun viewer, with --config=rerun),"
    " for one episode; else a folder of pages",
    required=True,
)
_NAMES = flags.DEFINE_string(
    "names",
    None,
    "JSON file with names and units of the channels; rlds/show/channel_names.py has"
    " its form (default: channels are numbered)",
)
flags.adopt_module_key_flags(spool_flags)
path_flags.places("output")
path_flags.files("names")
flags.FLAGS.set_gnu_getopt(True)  # the episode may stand before the flags

INDEX: Final = "index.html"
_HTML, _GIF, _RERUN = ".html", ".gif", ".rrd"


def main(argv: list[str]) -> int:
    """Writes the page of an episode, or of several."""
    if len(argv) != 2:
        got = f"{len(argv) - 1}: {argv[1:]}" if argv[1:] else "none"
        raise app.UsageError(f"expected one episode or folder of them, got {got}")
    spool_flags.use(creates=False)
    source, output = Path(argv[1]).expanduser(), Path(_OUTPUT.value)
    names = ChannelNames()
    if _NAMES.value:
        with path_flags.about("names", "a file of names of channels", "correct it"):
            names = channel_names.read(Path(_NAMES.value))
    if output.suffix in (_HTML, _GIF, _RERUN):
        return _show_one(source, output, names)
    if output.is_file():
        got = f"the file {output}"
        raise ShowError("--output", "a folder, or a file *.html, *.gif or *.rrd", got)
    return _show_all(source, output, names)


def _show_one(source: Path, output: Path, names: ChannelNames) -> int:
    durable_file.check_writable(output)
    files = found.list_files(source)
    episodes = found.open_file(files[0])
    first = next(episodes)
    if len(files) > 1 or next(episodes, None) is not None:
        raise ShowError(
            "--output",
            f"a folder of pages for the episodes of {source}",
            output,
            f"name one of them, or an --output without {output.suffix}",
        )
    if output.suffix == _GIF:
        from rlds.show import gif  # a page needs no library for pictures

        raw = gif.render(first)
    elif output.suffix == _RERUN:
        raw = rerun_recording.render(first, names)
    else:
        raw = page.render(first, names).encode()
    durable_file.write(output, raw, durable_file.PRIVATE)
    command_line.say(f"{output}: {first.name}, {first.episode.num_steps:,} steps")
    _tell_note(first)
    if first.fault:
        raise ShowError(first.path, "what is beside it to be of it", first.fault)
    return 0


def _show_all(source: Path, output: Path, names: ChannelNames) -> int:
    files = found.list_files(source)
    output.mkdir(parents=True, exist_ok=True)
    rows: list[overview.Listed] = []
    faults: list[str] = []
    for episode in _open_all(files, faults):
        file = _name_page(files, episode, {row.file for row in rows})
        try:
            text = page.render(episode, names, INDEX)
        except ShowError as e:
            faults.append(str(e))
            continue
        durable_file.write(output / file, text.encode(), durable_file.PRIVATE)
        rows.append(overview.list_episode(episode, file))
        _tell_note(episode)
        if episode.fault:
            faults.append(episode.fault)
    listed = overview.render(str(source), rows, faults)
    durable_file.write(output / INDEX, listed.encode(), durable_file.PRIVATE)
    command_line.say(f"{output / INDEX}: {len(rows)} episodes")
    for fault in faults[1:]:
        command_line.say(fault)
    if faults:
        raise ShowError(
            source,
            "episodes that are whole",
            f"{len(faults)} of which this is the first that is not: {faults[0]}",
            "the others are shown",
        )
    return 0


def _open_all(files: list[Path], faults: list[str]) -> Iterator[Found]:
    """Yields all episodes; what cannot be read becomes a line among the faults."""
    for path in files:
        try:
            yield from found.open_file(path)
        except (ContinuonError, OSError) as e:
            faults.append(str(e))


def _name_page(files: list[Path], episode: Found, taken: Container[str]) -> str:
    """Names the page of an episode; a robot's home has the same one raw and shared."""
    name = episode.episode.metadata.episode_id
    if episode.number is not None:
        root = os.path.commonpath([path.parent for path in files])
        shard = os.path.relpath(episode.path, root).removesuffix(EPISODE_SUFFIX)
        name = f"{shard.replace(os.sep, '-')}-{episode.number:05d}"
    numbered = (f"{name}-{number}{_HTML}" for number in itertools.count(2))
    return next(
        file
        for file in itertools.chain([f"{name}{_HTML}"], numbered)
        if file not in taken
    )


def _tell_note(episode: Found) -> None:
    if episode.note:
        command_line.say(f"{episode.name}: {episode.note}")


if __name__ == "__main__":
    command_line.run(main)
