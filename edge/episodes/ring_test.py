"""Records pass through the ring whole and in order, or are counted as dropped."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from base.testing import special_files
from edge.episodes import ring
from edge.episodes.ring import RESERVED, Record, RingReader, RingWriter
from edge.errors import RingError
from edge.testing import processes
from edge.testing.process_tree import LONGEST_S

SLOTS = 32


def open_both(path: Path) -> tuple[RingWriter, RingReader]:
    return RingWriter(path, 64, SLOTS), RingReader(path)


def take(reader: RingReader) -> Record:
    found = reader.peek()
    assert found is not None
    reader.release()
    return found


def test_records_come_out_in_order_over_many_rounds(tmp_path: Path) -> None:
    writer, reader = open_both(tmp_path / "ring")
    for number in range(5 * SLOTS):
        payload = b"%d" % number * (number % 8)
        assert writer.write(number % 3, payload)
        assert take(reader) == Record(number, number % 3, payload)
        assert reader.peek() is None
    assert (writer.dropped, reader.dropped, reader.damaged) == (0, 0, 0)


def test_full_ring_refuses_and_keeps_what_is_in_it(tmp_path: Path) -> None:
    writer, reader = open_both(tmp_path / "ring")
    written = 0
    while writer.write(1, b"%d" % written):
        written += 1
    assert written == SLOTS - RESERVED
    writer.drop()
    while writer.write(2, b"%d" % written, droppable=False):
        written += 1
    assert written == SLOTS
    assert [take(reader).payload for _ in range(SLOTS)] == [
        b"%d" % number for number in range(SLOTS)
    ]
    assert reader.peek() is None
    assert reader.dropped == 1
    assert writer.write(1, b"again")
    assert take(reader).sequence == SLOTS


def test_new_writer_and_new_reader_go_on_where_the_old_ones_stopped(
    tmp_path: Path,
) -> None:
    writer, reader = open_both(tmp_path / "ring")
    for number in range(3):
        writer.write(1, b"%d" % number)
    writer.drop()
    take(reader)
    writer, reader = open_both(tmp_path / "ring")
    assert writer.dropped == 1
    assert writer.write(1, b"3")
    assert [take(reader).payload for _ in range(3)] == [b"1", b"2", b"3"]


def test_record_that_was_not_released_is_found_again(tmp_path: Path) -> None:
    writer, reader = open_both(tmp_path / "ring")
    writer.write(1, b"a")
    assert reader.peek() == reader.peek() == Record(0, 1, b"a")
    assert RingReader(tmp_path / "ring").peek() == Record(0, 1, b"a")


def test_slot_cut_at_any_byte_is_no_record_and_is_written_again(
    tmp_path: Path,
) -> None:
    """As a writer leaves it that is killed while it copies a record into its slot."""
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    for number in range(SLOTS):  # every slot holds an old record
        writer.write(1, b"old%d" % number)
        take(reader)
    before = path.read_bytes()
    writer.write(1, b"the new record")
    writer.close()
    after = path.read_bytes()
    changed = [
        at
        for at, pair in enumerate(zip(before, after, strict=True))
        if pair[0] != pair[1]
    ]
    for cut in range(changed[0], changed[-1] + 1):
        path.write_bytes(after[:cut] + before[cut:])
        assert RingReader(path).peek() is None
        again = RingWriter(path, 64, SLOTS)
        assert again.write(1, b"another")
        assert RingReader(path).peek() == Record(SLOTS, 1, b"another")
        again.close()


@pytest.mark.parametrize("released", [0, 1, 127, 255, 256, 257, 65_535])
def test_release_cut_at_any_byte_takes_no_room_and_loses_no_record(
    tmp_path: Path, released: int
) -> None:
    """As it looks while, or after a kill in which, a reader says how far it is."""
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    for number in range(released):
        writer.write(1, b"%d" % number)
        take(reader)
    writer.write(1, b"%d" % released)
    before = path.read_bytes()
    take(reader)
    after = path.read_bytes()
    with path.open("r+b") as file:
        for half in halves(before, after):
            os.pwrite(file.fileno(), half, 0)
            assert writer.waiting in (0, 1)
            assert RingWriter(path, 64, SLOTS).waiting in (0, 1)
            found = RingReader(path).peek()
            assert found in (None, Record(released, 1, b"%d" % released))
    assert writer.write(1, b"next")
    again = RingReader(path)
    records = [take(again) for _ in range(writer.waiting)]
    assert records[-1] == Record(released + 1, 1, b"next")


@pytest.mark.parametrize("dropped", [0, 1, 255, 256])
def test_dropped_record_counted_by_half_is_the_one_before_or_counted(
    tmp_path: Path, dropped: int
) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    for _ in range(dropped):
        writer.drop()
    before = path.read_bytes()
    writer.drop()
    after = path.read_bytes()
    with path.open("r+b") as file:
        for half in halves(before, after):
            os.pwrite(file.fileno(), half, 0)
            assert reader.dropped in (dropped, dropped + 1)
            assert RingReader(path).dropped in (dropped, dropped + 1)
            assert RingWriter(path, 64, SLOTS).dropped in (dropped, dropped + 1)


def halves(before: bytes, after: bytes) -> Iterator[bytes]:
    """What lies in between if bytes are stored one by one, cleared before or not."""
    changed = [at for at, one in enumerate(before) if one != after[at]]
    first, last = changed[0], changed[-1] + 1
    for cut in range(first, last + 1):
        yield after[:cut] + before[cut:]
        yield after[:cut] + bytes(last - cut) + after[last:]


def test_room_that_a_fast_reader_leaves_is_seen_at_every_look(tmp_path: Path) -> None:
    """A fork reads as fast as it can; half of a number must never look like one."""
    path = tmp_path / "ring"
    writer = RingWriter(path, 64, SLOTS)
    child = os.fork()
    if child == 0:
        reader = RingReader(path)
        while True:
            if reader.peek() is not None:
                reader.release()
    try:
        end_s = time.monotonic() + LONGEST_S
        for number in range(10_000):
            while writer.waiting >= SLOTS - RESERVED:
                assert time.monotonic() < end_s
                os.sched_yield()
            assert writer.write(1, b"%d" % number)
            assert 0 <= writer.waiting <= SLOTS - RESERVED
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_damaged_slot_is_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    writer.write(1, b"first record")
    writer.write(1, b"second record")
    at = path.read_bytes().index(b"first record")
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"F")
    assert take(reader).payload == b"second record"
    assert reader.damaged == 1


def test_ring_of_another_form_is_replaced_and_its_reader_sees_that(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    writer.write(1, b"last words")
    assert not reader.is_replaced()
    other = RingWriter(path, 128, SLOTS)
    assert reader.is_replaced()
    assert take(reader).payload == b"last words"
    assert other.write(1, b"x" * 128)
    assert take(RingReader(path)).payload == b"x" * 128
    assert [one.name for one in tmp_path.iterdir()] == ["ring"]


@pytest.mark.parametrize("content", [b"", b"x" * 10, b"\0" * 10_000])
def test_file_that_is_no_ring_is_refused_and_replaced(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "ring"
    path.write_bytes(content)
    with pytest.raises(RingError):
        RingReader(path)
    writer = RingWriter(path, 64, SLOTS)
    assert writer.write(1, b"a")
    assert take(RingReader(path)).payload == b"a"


@pytest.mark.parametrize("grown", [False, True], ids=["cut", "cut and grown again"])
@pytest.mark.parametrize("left_bytes", [0, 20, 4096, 5000])
def test_ring_whose_file_was_cut_off_kills_nobody_and_a_new_one_takes_its_place(
    tmp_path: Path, left_bytes: int, grown: bool
) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    for number in range(3):
        assert writer.write(1, b"%d" % number)
    assert take(reader).payload == b"0"
    size_bytes = path.stat().st_size
    os.truncate(path, left_bytes)
    if grown:
        os.truncate(path, size_bytes)
    is_seen = not grown or left_bytes < 4096
    assert reader.peek() is None or left_bytes == 5000
    assert writer.write(1, b"3") is not is_seen
    writer.drop()
    assert writer.is_lost is is_seen
    writer.close()
    writer = RingWriter(path, 64, SLOTS, dropped=writer.dropped)
    assert writer.dropped == 1
    assert reader.is_replaced() is is_seen
    if is_seen:
        reader = RingReader(path)
    assert writer.write(1, b"4")
    if reader.peek() is None:
        assert reader.pass_damage()
    found = [take(reader).payload for _ in range(writer.waiting)]
    assert found[-1] == b"4"
    assert reader.dropped == 1


def test_slots_that_were_overwritten_in_a_row_are_passed_over_and_counted(
    tmp_path: Path,
) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    for number in range(5):
        writer.write(1, b"record %d" % number)
    begin = path.read_bytes().index(b"record 1")
    end = path.read_bytes().index(b"record 3") + 8
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(bytes(end - begin))
    assert take(reader).payload == b"record 0"
    assert reader.peek() is None
    assert reader.pass_damage()
    assert take(reader).payload == b"record 4"
    assert reader.damaged == 3
    assert not reader.pass_damage()


def test_records_that_come_while_a_reader_looks_for_damage_are_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ring"
    writer, reader = open_both(path)
    assert reader.peek() is None
    read_slot, looked = ring._Ring.read_slot, list[int]()

    def read_late(self: ring._Ring, sequence: int) -> Record | None:
        looked.append(sequence)
        if len(looked) == 2:  # it has seen an empty slot, and then is kept waiting
            for number in range(4):
                assert writer.write(1, b"%d" % number)
        return read_slot(self, sequence)

    monkeypatch.setattr(ring._Ring, "read_slot", read_late)
    assert reader.pass_damage()
    assert [take(reader).payload for _ in range(4)] == [b"0", b"1", b"2", b"3"]
    assert reader.damaged == 0


@pytest.mark.parametrize(
    "kind", [*special_files.KINDS, "full folder", "link to a ring"]
)
def test_what_stands_in_the_place_of_the_ring_makes_way(
    tmp_path: Path, kind: str
) -> None:
    other = RingWriter(tmp_path / "other", 64, SLOTS)
    if kind == "full folder":
        (tmp_path / "ring" / "in it").mkdir(parents=True)
    elif kind == "link to a ring":
        (tmp_path / "ring").symlink_to("other")
    else:
        special_files.make(tmp_path / "ring", kind)
    with special_files.at_once():
        with pytest.raises(RingError):
            RingReader(tmp_path / "ring")
        writer, reader = open_both(tmp_path / "ring")
    assert writer.write(1, b"a")
    assert take(reader).payload == b"a"
    assert other.waiting == 0


def test_disk_without_room_makes_no_ring_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from edge.episodes.ring import RingWriter\n"
        "from edge.errors import RingError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))\n"
        "try:\n"
        "    RingWriter(Path(sys.argv[1]), 1024)\n"
        "except RingError as e:\n"
        "    sys.exit(str(e))\n"
    )
    done = subprocess.run(
        [processes.command("x")[0], "-c", code, str(tmp_path / "ring")],
        env=processes.environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "the robot drives, and nothing is recorded" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_killed_writer_leaves_whole_records_at_forty_random_instants(
    tmp_path: Path,
) -> None:
    """A fork writes as fast as it can; each record says its number many times."""
    path = tmp_path / "ring"
    RingWriter(path, 512, SLOTS).close()
    reader = RingReader(path)
    expected = 0
    for trial in range(40):
        child = os.fork()
        if child == 0:
            writer = RingWriter(path, 512, SLOTS)
            number = expected
            while True:
                if writer.write(1, number.to_bytes(8, "little") * 64):
                    number += 1
        wanted = expected + 50 + 37 * trial % 101
        while expected < wanted:
            record = reader.peek()
            if record is None:
                continue
            assert record.payload == expected.to_bytes(8, "little") * 64
            reader.release()
            expected += 1
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        while (record := reader.peek()) is not None:
            assert record.payload == expected.to_bytes(8, "little") * 64
            reader.release()
            expected += 1
    assert reader.damaged == 0
