import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from base.errors import OversizedError
from cloud.errors import SnapshotError
from cloud.index import schema, snapshot
from cloud.testing import records


def test_order_of_the_rows_does_not_change_the_digest() -> None:
    rows = [records.index_row(number) for number in range(5)]
    forward, backward = snapshot.encode(rows), snapshot.encode(rows[::-1])
    assert forward == backward
    parsed = snapshot.parse(forward, "snapshot.jsonl")
    assert [row["episode_id"] for row in parsed.rows] == [
        records.episode_id(number) for number in range(5)
    ]


def test_an_empty_index_is_an_empty_file() -> None:
    assert snapshot.encode([]) == b""
    assert snapshot.parse(b"", "snapshot.jsonl").rows == ()


def test_two_rows_for_one_episode_are_refused() -> None:
    rows = [records.index_row(1, robot=1), records.index_row(1, robot=2)]
    with pytest.raises(SnapshotError, match="one row per episode"):
        snapshot.encode(rows)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw[:-20], "line 3"),
        (lambda raw: raw[:-1], "order"),
        (lambda raw: raw.replace(b"\n", b"\r\n"), "spelling"),
        (lambda raw: raw + b"\n", "line 4"),
        (lambda raw: raw + raw.splitlines(keepends=True)[-1], "one row per episode"),
        (lambda raw: raw.replace(b'"size_bytes":0', b'"size_bytes":"0"'), "size_bytes"),
        (lambda raw: raw.replace(b'"size_bytes"', b'"sise_bytes"'), "sise_bytes"),
        (lambda raw: b"".join(raw.splitlines(True)[::-1]), "order"),
        (lambda raw: raw.replace(b'":', b'": '), "spelling"),
        (lambda raw: b"\xff" + raw, "line 1"),
        (lambda raw: raw.replace(b"2026-01-01", b"yesterday!"), "date"),
    ],
)
def test_a_changed_snapshot_is_refused(
    change: Callable[[bytes], bytes], text: str
) -> None:
    raw = snapshot.encode([records.index_row(number) for number in range(3)])
    with pytest.raises(SnapshotError, match=r"snapshot\.jsonl") as caught:
        snapshot.parse(change(raw), "snapshot.jsonl")
    assert text in str(caught.value)


def test_a_snapshot_is_read_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = snapshot.encode([records.index_row(number) for number in range(3)])
    (tmp_path / snapshot.FILE).write_bytes(raw)
    whole = snapshot.parse(raw, "snapshot.jsonl")
    assert whole.digest == hashlib.sha256(raw).hexdigest()
    for size_bytes in (1, 7, len(raw) // 3, len(raw)):
        monkeypatch.setattr(snapshot, "_PIECE_BYTES", size_bytes)
        assert snapshot.read(tmp_path.as_uri()) == whole


def test_a_snapshot_beyond_its_bounds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = snapshot.encode([records.index_row(number) for number in range(3)])
    (tmp_path / snapshot.FILE).write_bytes(raw)
    monkeypatch.setattr(snapshot, "_PIECE_BYTES", 64)
    monkeypatch.setattr(snapshot, "_LONGEST_LINE", 128)
    with pytest.raises(SnapshotError, match="line 1: expected at most 128 bytes"):
        snapshot.read(tmp_path.as_uri())
    monkeypatch.setattr(snapshot, "_LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(snapshot, "_LIMIT_BYTES", len(raw) - 1)
    with pytest.raises(OversizedError, match=f"at most {len(raw) - 1} bytes"):
        snapshot.read(tmp_path.as_uri())


def test_a_missing_snapshot_names_the_command_that_builds_it(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="//cloud:index --raw"):
        snapshot.read(tmp_path.as_uri())
    assert list(tmp_path.iterdir()) == []


def test_every_column_has_a_description_and_a_unique_name() -> None:
    assert len(set(schema.NAMES)) == len(schema.COLUMNS)
    assert all(column.doc for column in schema.COLUMNS)
    assert set(schema.SHAPE_COLUMNS) <= set(schema.NAMES)


def test_both_engines_get_the_same_columns() -> None:
    fields = schema.bigquery_schema()
    assert [field["name"] for field in fields] == list(schema.NAMES)
    assert {field["mode"] for field in fields} == {"REQUIRED", "REPEATED"}
    for field in fields:
        assert f"{field['name']} " in schema.duckdb_ddl()


def test_a_row_with_exactly_the_columns_passes() -> None:
    row = records.index_row(1)
    assert schema.check_row(row, "here") == row


@pytest.mark.parametrize(
    "changes",
    [
        {"num_steps": "70"},
        {"num_steps": True},
        {"num_steps": 7.0},
        {"consent_granted": 1},
        {"tags": "a"},
        {"tags": [1]},
        {"date": "today"},
        {"episode_id": None},
        {"unheard_of": 1},
    ],
)
def test_a_row_with_other_columns_or_types_is_refused(
    changes: dict[str, Any],
) -> None:
    with pytest.raises(SnapshotError, match="here"):
        schema.check_row(records.index_row(1, **changes), "here")
