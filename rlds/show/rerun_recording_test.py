"""A recording of Rerun, read back by its own reader, holds what the episode holds."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rerun.chunk import RrdReader

from rlds.episode import Episode
from rlds.errors import ShowError
from rlds.show import facts, rerun_recording
from rlds.show.channel_names import Channel, ChannelNames
from rlds.show.found import Found
from rlds.spec import EpisodeSpec
from rlds.testing import episodes

SPEC = EpisodeSpec(3, 2, image=True, audio_size=4, interventions=True)
NAMES = ChannelNames(
    known={"state": [Channel("pan", "deg"), Channel("lift"), Channel("jaw")]}
)


def read_back(path: Path) -> dict[str, dict[str, list[Any]]]:
    """The columns of each entity; those of several chunks behind one another."""
    found: dict[str, dict[str, list[Any]]] = {}
    for chunk in RrdReader(path).stream().to_chunks():
        columns = found.setdefault(chunk.entity_path, {})
        for name, values in chunk.to_record_batch().to_pydict().items():
            columns.setdefault(name, []).extend(values)
    return found


def show(folder: Path, episode: Episode) -> dict[str, dict[str, list[Any]]]:
    raw = rerun_recording.render(Found(folder / "a.tfrecord", None, episode), NAMES)
    path = folder / "a.rrd"
    path.write_bytes(raw)
    return read_back(path)


def test_values_times_and_pictures_are_those_of_the_episode(tmp_path: Path) -> None:
    episode = episodes.episode(SPEC, count=7)
    steps, seen = episode.steps, show(tmp_path, episode)
    for entity, values in (
        ("/state", steps["observation/state"]),
        ("/action", steps["action"]),
        ("/proposed_action", steps["proposed_action"]),
        ("/sound", steps["observation/audio_mel"]),
        ("/reward", steps["reward"][:, None]),
        ("/marks/intervention", steps["intervention"][:, None]),
    ):
        np.testing.assert_array_equal(seen[entity]["Scalars:scalars"], values)
        passed = [one.total_seconds() for one in seen[entity]["episode"]]
        np.testing.assert_allclose(passed, facts.seconds(episode), atol=1e-6)
    pictures = seen["/camera/picture"]["EncodedImage:blob"]
    assert [bytes(one) for (one,) in pictures] == [episodes.JPEG] * 7
    assert seen["/state"]["SeriesLines:names"] == [["pan (deg)", "lift", "jaw"]]
    (told,) = seen["/about"]["TextDocument:text"]
    assert f"task: {episode.metadata.task}" in told[0].lower()


def test_command_writes_a_file_that_others_cannot_read(tmp_path: Path) -> None:
    source, output = tmp_path / "a.tfrecord", tmp_path / "a.rrd"
    source.write_bytes(episodes.frame_episode(episodes.episode(SPEC)))
    done = subprocess.run(  # no fork: the library has threads
        [sys.executable, "-m", "rlds.show.show", str(source), f"--output={output}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{output}: a.tfrecord, 5 steps")
    assert stat.S_IMODE(output.stat().st_mode) == 0o600
    assert len(read_back(output)["/state"]["Scalars:scalars"]) == 5


def test_names_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    episode = episodes.episode(EpisodeSpec(4, 2))
    with pytest.raises(ShowError, match="state with the 4 channels"):
        show(tmp_path, episode)
