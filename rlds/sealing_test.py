"""Raw episodes at rest: what opens with the key of the device, and what does not."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rlds import closed_episode, journal, reader, recovery, sealing
from rlds.errors import (
    CorruptRecordError,
    DamagedJournalError,
    MalformedEpisodeError,
    RldsError,
    SealedError,
)
from rlds.sealing import HEADER, OVERHEAD_BYTES, RECORD, DeviceKey, Opener, Sealer
from rlds.spec import EpisodeSpec
from rlds.testing import episodes as testing

KEY, OTHER = DeviceKey(bytes(range(32))), DeviceKey(bytes(32))
SPEC = EpisodeSpec(3, 2)


@pytest.fixture(autouse=True)
def device() -> Iterator[None]:
    """A device that has the key."""
    sealing.use(KEY)
    yield
    sealing.use(None)


def split(raw: bytes) -> tuple[bytes, list[bytes]]:
    """The header of a sealed file, and its records as they lie there."""
    found, at = [], HEADER.size
    while at < len(raw):
        size = sealing.measure(raw[at : at + RECORD.size])
        assert size is not None
        found.append(raw[at : at + size])
        at += size
    return raw[: HEADER.size], found


def write_journal(folder: Path, count: int, number: int = 1) -> tuple[Path, bytes]:
    """A journal of so many steps, as a crash leaves it, and its bytes."""
    recorder = testing.record(folder, number, count, SPEC)
    path = folder / f"{testing.metadata(number).episode_id}.journal"
    raw = path.read_bytes()
    recorder.abort()
    path.write_bytes(raw)
    return path, raw


@given(st.binary(max_size=2000))
def test_what_was_sealed_opens_and_shows_nothing(raw: bytes) -> None:
    sealing.use(KEY)
    sealed = sealing.seal(raw)
    assert sealing.unseal(sealed, "file") == raw
    assert len(sealed) == len(raw) + OVERHEAD_BYTES
    assert len(raw) < 8 or raw not in sealed[HEADER.size :]
    assert sealing.seal(raw) != sealed


def test_without_a_key_files_are_as_they_were() -> None:
    sealing.use(None)
    assert not sealing.is_used()
    assert sealing.seal(b"raw") == b"raw"
    assert sealing.unseal(b"raw", "file") == b"raw"
    assert sealing.begin_file() is None


@pytest.mark.parametrize("key", [None, OTHER])
def test_sealed_file_says_which_key_it_wants_and_which_there_is(
    key: DeviceKey | None, tmp_path: Path
) -> None:
    path = testing.record(tmp_path, 1, 3, SPEC).close(True).path
    sealing.use(key)
    with pytest.raises(SealedError) as caught:
        reader.read_episode(path)
    got = "none" if key is None else f"the key {key.id.hex()}"
    assert (caught.value.expected, caught.value.got) == (
        f"the device's key {KEY.id.hex()}",
        got,
    )
    assert "--spool_key" in str(caught.value)
    assert path.exists()


def test_older_file_stays_readable_once_there_is_a_key(tmp_path: Path) -> None:
    sealing.use(None)
    plain = testing.record(tmp_path, 1, 3, SPEC).close(True).path
    path, raw = write_journal(tmp_path, 4, number=2)
    sealing.use(KEY)
    assert reader.read_episode(plain).num_steps == 3
    found = journal.read(path)
    assert found is not None
    assert found.num_steps == 4
    assert not sealing.is_sealed(raw)


def test_neither_key_nor_steps_are_in_any_file(tmp_path: Path) -> None:
    steps = testing.steps(SPEC, 3)
    path, raw = write_journal(tmp_path, 3)
    (closed,) = recovery.recover(tmp_path)
    for content in (raw, closed.path.read_bytes()):
        assert KEY.secret not in content
        assert b"sawyer" not in content
        for step in steps:
            assert step["observation/state"].tobytes() not in content
    assert repr(KEY) == "DeviceKey()"
    assert not path.exists()


# Every byte, with one bit of it: 8 times as many would show no other thing.
def test_flipped_bit_anywhere_in_an_episode_is_damage_and_never_another_episode(
    tmp_path: Path,
) -> None:
    closed = testing.record(tmp_path, 1, 1, SPEC).close(True)
    raw = closed.path.read_bytes()
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        with pytest.raises((CorruptRecordError, MalformedEpisodeError)) as caught:
            reader.read_episode_bytes(bytes(changed))
        assert not isinstance(caught.value, SealedError)


def test_flipped_bit_anywhere_in_a_journal_costs_no_step_before_it_and_keeps_the_bytes(
    tmp_path: Path,
) -> None:
    path, raw = write_journal(tmp_path, 3)
    header, records = split(raw)
    ends = list(itertools.accumulate(map(len, records), initial=len(header)))
    for at in range(len(raw)):
        changed = bytearray(raw)
        changed[at] ^= 1 << at % 8
        path.write_bytes(changed)
        aside = path.with_name(path.name + ".damaged")
        # In the last record it looks like the step that was being written.
        if at < ends[-2]:
            with pytest.raises(DamagedJournalError):
                recovery.recover(tmp_path)
            assert aside.read_bytes() == changed
            aside.unlink()
        else:
            recovery.recover(tmp_path)
        whole = max(0, sum(end <= at for end in ends) - 2)
        found = list(tmp_path.glob("*.tfrecord"))
        assert [reader.read_episode(one).num_steps for one in found] == [whole] * (
            whole > 0
        )
        for one in tmp_path.iterdir():
            one.unlink()


def test_journal_takes_no_record_from_elsewhere(tmp_path: Path) -> None:
    path, raw = write_journal(tmp_path, 4)
    header, records = split(raw)
    _, foreign = split(write_journal(tmp_path, 4, number=2)[1])
    head, *steps = records
    for mixed, whole in (
        ([head, steps[1], steps[0], *steps[2:]], 0),  # in another order
        ([head, steps[0], *steps[2:]], 1),  # one is left out
        ([head, steps[0], steps[0], *steps[1:]], 1),  # one comes twice
        ([head, steps[0], foreign[2], *steps[2:]], 1),  # one of another file
        (steps, None),  # without what it begins with
    ):
        path.write_bytes(header + b"".join(mixed))
        found = journal.read(path)
        assert (None if found is None else found.num_steps) == whole


def test_step_that_the_disk_refused_is_sealed_anew_under_another_nonce() -> None:
    sealer = Sealer(KEY)
    refused, taken = sealer.seal(b"step 1"), sealer.seal(b"step 2")
    sealer.keep()
    after = sealer.seal(b"step 3")
    nonces = {raw[4:8] for raw in (refused, taken, after)}
    assert len(nonces) == 3
    for first in (refused, taken):
        opener = Opener(sealer.header, "file")
        assert opener.open(first) is not None
        assert opener.open(after) == b"step 3"


def test_steps_are_counted_without_the_key(tmp_path: Path) -> None:
    path, raw = write_journal(tmp_path, 5)
    sealing.use(None)
    assert journal.count_sealed_steps(path) == 5
    path.write_bytes(raw[:-1])
    assert journal.count_sealed_steps(path) == 4
    path.write_bytes(raw[: HEADER.size])
    assert journal.count_sealed_steps(path) == 0


@pytest.mark.parametrize("key", [None, OTHER])
def test_recovery_leaves_what_it_has_no_key_for_and_does_the_rest(
    key: DeviceKey | None, tmp_path: Path
) -> None:
    path, raw = write_journal(tmp_path, 3)
    sealing.use(key)
    other = testing.record(tmp_path, 2, 2, SPEC)
    other.leave()
    with pytest.raises(SealedError, match="for 1 journals"):
        recovery.recover(tmp_path)
    assert path.read_bytes() == raw
    (done,) = tmp_path.glob("*.tfrecord")
    assert reader.read_episode(done).num_steps == 2
    sealing.use(KEY)
    (back,) = recovery.recover(tmp_path)
    assert back.num_steps == 3


def test_journal_of_a_cut_close_is_finished_by_whoever_has_the_key(
    tmp_path: Path,
) -> None:
    recorder = testing.record(tmp_path, 1, 2, SPEC)
    (path,) = tmp_path.iterdir()
    raw = path.read_bytes()
    closed = recorder.close(success=True)
    path.write_bytes(raw)
    sealing.use(None)
    with pytest.raises(SealedError):
        recovery.recover(tmp_path)
    assert path.exists()
    sealing.use(KEY)
    assert recovery.recover(tmp_path) == [closed]
    assert closed_episode.episode_path(path) == closed.path


@settings(max_examples=300)
@given(st.binary(max_size=300))
@example(sealing.MAGIC)
@example(sealing.MAGIC + bytes(HEADER.size))
def test_any_bytes_are_an_error_of_ours_or_themselves(raw: bytes) -> None:
    sealing.use(KEY)
    for content in (raw, sealing.MAGIC + raw):
        try:
            assert sealing.unseal(content, "file") == content
        except RldsError as e:
            assert "file" in str(e)
