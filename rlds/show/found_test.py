"""Tests of where episodes are found, and of what is said of their sidecars."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base.digest import sha256_bytes
from base.testing import special_files
from rlds import sidecar
from rlds.episode import Episode
from rlds.errors import CorruptRecordError, MalformedEpisodeError, ShowError
from rlds.redaction_record import RedactionRecord
from rlds.show import found
from rlds.sidecar import Consent, Safety, Sidecar
from rlds.spec import SCHEMA_VERSION
from rlds.testing import episodes

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def state(episode: Episode) -> bytes:
    """Returns a signed sidecar of an episode."""
    framed = episodes.frame_episode(episode)
    own = episode.metadata
    stated = Sidecar(
        schema_version=SCHEMA_VERSION,
        episode_id=own.episode_id,
        sha256=sha256_bytes(framed),
        size_bytes=len(framed),
        num_steps=episode.num_steps,
        robot_hash=own.robot_hash,
        date=own.start_time[:10],
        consent=Consent(True, "operator", own.start_time),
        safety=Safety(0, False),
        privacy=RedactionRecord("faces-1", {"face": "ef" * 32}, ("tags",), 7, True),
        package_digest=own.package_digest,
        delta_digest=own.delta_digest,
        software=own.software_version,
    )
    return sidecar.sign(stated, KEY)


def write(folder: Path, number: int = 0) -> Path:
    """Writes an episode with its sidecar, as a robot's shared folder has them."""
    episode = episodes.episode(number=number)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{episode.metadata.episode_id}.tfrecord"
    path.write_bytes(episodes.frame_episode(episode))
    path.with_name(f"{path.stem}.sidecar.json").write_bytes(state(episode))
    return path


def test_robots_folder_has_each_episode_once_whatever_its_links(tmp_path: Path) -> None:
    files = [write(tmp_path, number) for number in (1, 0)]
    links = tmp_path / "train"
    links.mkdir()
    (links / "shard-00000.tfrecord").symlink_to(files[0])
    (links / "shard-00001.tfrecord").write_bytes(files[1].read_bytes())
    assert found.list_files(tmp_path) == sorted(files)
    (one,) = found.open_file(files[0])
    assert (one.note, one.fault, one.number) == ("", "", None)
    assert one.episode == episodes.episode(number=1)
    assert one.sidecar is not None and one.sidecar.privacy.frames_masked == 7


def test_folders_of_a_store_are_searched_and_named_by_their_episode(
    tmp_path: Path,
) -> None:
    for number in (0, 1):
        path = write(tmp_path / f"robot/episode_id={number}", number)
        path.with_name(f"{path.stem}.sidecar.json").rename(
            path.with_name("sidecar.json")
        )
        path.rename(path.with_name("episode.tfrecord"))
    (first, second) = found.list_files(tmp_path)
    (one,) = found.open_file(first)
    assert (one.name, one.fault, one.note) == ("episode_id=0", "", "")
    assert one.sidecar is not None
    assert second.parent.name == "episode_id=1"


def test_shard_of_a_dataset_holds_several_episodes(tmp_path: Path) -> None:
    shard = tmp_path / "shard-00000.tfrecord"
    both = [episodes.episode(number=number) for number in (0, 1)]
    shard.write_bytes(b"".join(map(episodes.frame_episode, both)))
    opened = list(found.open_file(shard))
    assert [one.episode for one in opened] == both
    assert opened[1].name == f"{tmp_path.name}/shard-00000.tfrecord[1]"
    assert {one.note for one in opened} == {""}  # their manifest speaks for them


def test_torn_shard_gives_the_episodes_before_the_tear(tmp_path: Path) -> None:
    shard = tmp_path / "shard-00000.tfrecord"
    framed = episodes.frame_episode(episodes.episode())
    shard.write_bytes(framed * 2 + framed[:-3])
    opened = found.open_file(shard)
    assert [next(opened).number, next(opened).number] == [0, 1]
    with pytest.raises(CorruptRecordError, match=r"shard-00000\.tfrecord at byte"):
        next(opened)


def test_absent_sidecar_is_a_note_and_another_episodes_is_a_fault(
    tmp_path: Path,
) -> None:
    path = write(tmp_path)
    beside = path.with_name(f"{path.stem}.sidecar.json")
    beside.write_bytes(state(episodes.episode(number=1)))
    (one,) = found.open_file(path)
    assert "expected sha256" in one.fault and one.sidecar is None
    beside.write_bytes(b"{}")
    (one,) = found.open_file(path)
    assert one.fault and one.sidecar is None
    beside.unlink()
    (one,) = found.open_file(path)
    assert (one.fault, one.sidecar) == ("", None)
    assert "no sidecar beside it" in one.note


def test_pipe_in_the_place_of_a_sidecar_is_a_fault_and_nobody_waits(
    tmp_path: Path,
) -> None:
    path = write(tmp_path)
    beside = path.with_name(f"{path.stem}.sidecar.json")
    beside.unlink()
    special_files.make(beside, "pipe")
    (one,) = found.open_file(path)
    assert "a named pipe" in one.fault


def test_nothing_and_a_folder_without_episodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShowError, match="absent: expected an episode or a folder"):
        found.list_files(tmp_path / "absent")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(ShowError, match="expected recorded episodes, got a folder wit"):
        found.list_files(tmp_path)


def test_file_without_a_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tfrecord"
    path.touch()
    with pytest.raises(MalformedEpisodeError, match=r"a\.tfrecord: expected an epis"):
        next(found.open_file(path))
