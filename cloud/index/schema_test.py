import pytest

from cloud.errors import SnapshotError
from cloud.index import schema
from cloud.testing import index_rows


def test_every_column_has_a_description_and_a_unique_name():
    assert len(set(schema.NAMES)) == len(schema.COLUMNS)
    assert all(column.doc for column in schema.COLUMNS)
    assert set(schema.SHAPE_COLUMNS) <= set(schema.NAMES)


def test_both_engines_get_the_same_columns():
    fields = schema.bigquery_schema()
    assert [field["name"] for field in fields] == list(schema.NAMES)
    assert {field["mode"] for field in fields} == {"REQUIRED", "REPEATED"}
    for field in fields:
        assert f"{field['name']} " in schema.duckdb_ddl()


def test_a_row_with_exactly_the_columns_passes():
    row = index_rows.row(1)
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
def test_a_row_with_other_columns_or_types_is_refused(changes):
    with pytest.raises(SnapshotError, match="here"):
        schema.check_row(index_rows.row(1, **changes), "here")
