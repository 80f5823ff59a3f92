"""What goes from a shared folder that is full, and what a cut leaves of it."""

import random
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.store.store import LocalStore
from base.testing import special_files
from edge.episodes import upload
from edge.episodes.shared_quota import SharedQuota
from edge.testing import power_cuts
from edge.testing.recordings import Folders, begin, open_folders
from rlds import reader, tfds_directory
from rlds.tfds_directory import TfdsDirectory

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return tmp_path / "out", tmp_path / "private"


def name_of(number: int) -> str:
    return f"019b7892-1c00-7aaa-8000-{number:012d}"


def share(
    folders: Folders,
    number: int,
    *,
    consent: bool = True,
    quota: SharedQuota | None = None,
    steps: int = 3,
) -> None:
    with open_folders(folders, consent=consent, quota=quota) as recording:
        recorder = begin(recording, steps=steps, name=name_of(number))
        recording.share(recorder.close(success=True)[0])


def send(folders: Folders, number: int) -> None:
    """Leaves the receipt that the episode was sent."""
    (folders[0] / f"{name_of(number)}.sent.json").write_bytes(bytes(500))


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in list_files(folder))


def list_files(folder: Path) -> list[Path]:
    """Files of episodes, without what stays known of those that are gone."""
    return [path for path in folder.glob("019b*") if "stores" not in path.name]


def numbers_in(folder: Path) -> list[int]:
    """Numbers of the episodes that are whole; checks that there are no halves."""
    names = {path.name.split(".")[0] for path in list_files(folder)}
    numbers = sorted(int(name[-12:]) for name in names)
    for number in numbers:
        path = folder / f"{name_of(number)}.tfrecord"
        assert reader.read_episode(path).metadata.episode_id == name_of(number)
        assert path.with_suffix(".sidecar.json").exists()
    return numbers


def open_directory(folder: Path) -> TfdsDirectory:
    spec = reader.read_episode(next(folder.glob("019b*.tfrecord"))).spec
    return TfdsDirectory(folder, "episodes", spec)


def check_links(folder: Path) -> None:
    """The record counts the links, and each leads to an episode of its own."""
    before = sorted(folder.glob("train/*"))
    count = len(open_directory(folder).episode_files)
    links = [folder / tfds_directory.shard_path("train", i) for i in range(count)]
    assert before == links
    assert len({path.resolve(strict=True) for path in links}) == count


def upload_all(folder: Path, store: Path) -> upload.Tally:
    store.mkdir(exist_ok=True)
    return upload.upload(folder, LocalStore(store), NOW)


def test_sent_episodes_go_first_then_those_without_consent_then_those_that_wait(
    folders: Folders,
) -> None:
    output = folders[0]
    for number in range(6):
        share(folders, number, consent=number in (0, 3, 4, 5))
    send(folders, 4)
    send(folders, 5)
    told: list[str] = []
    went = []
    before = set(range(6))
    for number in range(6, 12):
        # Room for as many as there are: each that comes takes the place of another.
        quota = SharedQuota(size_of(output), told.append)
        share(folders, number, quota=quota)
        now = set(numbers_in(output))
        went += sorted(before - now)
        before = now
        check_links(output)
    assert went == [4, 5, 1, 2, 0, 3]
    assert len(told) == 4  # each of these quotas counts anew


def test_folder_never_exceeds_its_quota_by_more_than_the_newest_episode(
    folders: Folders,
) -> None:
    chance = random.Random(7)
    told: list[str] = []
    output = folders[0]
    quota = SharedQuota(60_000, told.append)
    kinds: dict[int, int] = {}  # 0 sent, 1 without consent, 2 waits
    for number in range(60):
        if number == 40:
            quota = SharedQuota(20_000, told.append)
        consent = chance.random() < 0.7
        steps = int(10 ** chance.uniform(0.5, 2.7))
        before = dict(kinds)
        share(folders, number, consent=consent, quota=quota, steps=steps)
        kinds[number] = 2 if consent else 1
        left = numbers_in(output)
        assert number in left
        assert size_of(output) <= quota._limit_bytes or left == [number]
        gone = [before[n] * 1000 + n for n in before if n not in left]
        stay = [before[n] * 1000 + n for n in before if n in left]
        assert not gone or not stay or max(gone) < min(stay)
        kinds = {n: kinds[n] for n in left}
        for n, kind in kinds.items():
            if kind == 2 and chance.random() < 0.1:
                send(folders, n)
                kinds[n] = 0
    check_links(output)
    assert quota.private > 0 < quota.waiting
    assert len(told) <= 4


def test_lower_quota_counts_from_the_next_start_on(folders: Folders) -> None:
    for number in range(9):
        share(folders, number, consent=number % 2 == 0)
    told: list[str] = []
    quota = SharedQuota(size_of(folders[0]) // 3, told.append)
    with open_folders(folders, quota=quota):
        pass
    assert numbers_in(folders[0]) == [4, 6, 8][-len(numbers_in(folders[0])) :]
    assert size_of(folders[0]) <= quota._limit_bytes
    check_links(folders[0])
    assert (quota.private, quota.waiting) == (4, 5 - len(numbers_in(folders[0])))
    (line,) = told
    assert f"{quota.private} episodes without consent and {quota.waiting} that" in line


def test_halves_go_first_and_files_set_aside_before_what_was_not_sent(
    folders: Folders,
) -> None:
    output = folders[0]
    for number in range(4):
        share(folders, number, consent=False)
    (output / f"{name_of(3)}.sidecar.json").unlink()
    (output / f"{name_of(9)}.sent.json").write_bytes(bytes(9))
    aside = f"{name_of(8)}.tfrecord.damaged-2"
    (output / aside).write_bytes(bytes(9))
    went = []
    for _ in range(4):
        before = {path.name for path in output.glob("019b*")}
        quota = SharedQuota(size_of(output) - 1, lambda _: None)
        with open_folders(folders, quota=quota):
            pass
        check_links(output)
        went.append(before - {path.name for path in output.glob("019b*")})
    assert went == [
        {f"{name_of(3)}.tfrecord"},
        {f"{name_of(9)}.sent.json"},
        {aside},
        {f"{name_of(0)}.tfrecord", f"{name_of(0)}.sidecar.json"},
    ]
    assert numbers_in(output) == [1, 2]


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_name_that_leads_to_no_file_keeps_no_episode_out(
    folders: Folders, kind: str
) -> None:
    output = folders[0]
    for number in range(3):
        share(folders, number)
    odd = [output / f"{name_of(0)}.sent.json", output / "odd.damaged"]
    for path in odd:
        special_files.make(path, kind)
    told: list[str] = []
    with special_files.at_once():
        share(folders, 3, quota=SharedQuota(0, told.append))
    (line,) = told
    assert "2 that waited" in line
    assert {p.name for p in output.glob("*.tfrecord")} == {
        f"{name_of(0)}.tfrecord",
        f"{name_of(3)}.tfrecord",
    }


def test_episode_that_cannot_be_removed_is_told_of_and_the_next_one_is_shared(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = folders[0]
    for number in range(4):
        share(folders, number)
    told: list[str] = []
    quota = SharedQuota(size_of(output) // 2, told.append)
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == f"{name_of(1)}.tfrecord":
            raise PermissionError(1, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    share(folders, 4, quota=quota)
    monkeypatch.undo()
    assert "stay above their quota" in told[0]
    assert "Operation not permitted" in told[0]
    assert (output / f"{name_of(4)}.sidecar.json").exists()
    check_links(output)
    share(folders, 5, quota=quota)
    assert numbers_in(output)[-1] == 5
    assert size_of(output) <= quota._limit_bytes
    check_links(output)
    assert quota.waiting == 6 - len(numbers_in(output))


def test_cut_at_any_removal_leaves_a_folder_that_the_next_start_reads(
    folders: Folders, tmp_path: Path
) -> None:
    for number in range(5):
        share(folders, number, consent=number != 1)
    send(folders, 3)
    limit = size_of(folders[0]) // 2
    cut = tmp_path / "cut"
    number = 0
    while True:
        shutil.rmtree(cut, ignore_errors=True)
        shutil.copytree(tmp_path / "out", cut / "out", symlinks=True)
        shutil.copytree(tmp_path / "private", cut / "private")
        copies = cut / "out", cut / "private"

        def work(copies: Folders = copies) -> None:
            share(copies, 5, quota=SharedQuota(limit, lambda _: None))

        killed = power_cuts.kill_before_call(number, copies[0], work)
        names = {p.name for p in copies[0].glob("*.tfrecord")}
        stated = {p.name for p in copies[0].glob("*.sidecar.json")}
        assert {n.replace(".sidecar.json", ".tfrecord") for n in stated} <= names
        quota = SharedQuota(limit, lambda _: None)
        with open_folders(copies, quota=quota) as recording:
            assert len(list(recording.recover_all())) <= 1
            check_links(copies[0])
        assert size_of(copies[0]) <= limit
        assert upload_all(copies[0], cut / "store").refused == []
        share(copies, 6, quota=quota)
        check_links(copies[0])
        assert size_of(copies[0]) <= limit
        if not killed:
            break
        number += 1
    assert number > 20
    assert 5 in numbers_in(copies[0])
