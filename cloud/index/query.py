"""Queries an index snapshot in SQL, read-only.

The engine is an in-memory DuckDB with the snapshot as its only table and no access
to files or the network. A curation predicate is more restricted: one expression over
the columns, without subqueries and without functions whose result changes from run to
run, so that a dataset spec always selects the same episodes.
"""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import duckdb

from base import canonical_json
from cloud import errors
from cloud.index import schema, snapshot

_LOCKED: dict[str, str | bool | int | float | list[str]] = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
}
_BATCH_ROWS = 1000
_FORBIDDEN_CLASSES = frozenset({"SUBQUERY", "WINDOW", "PARAMETER", "STAR"})


@dataclasses.dataclass(frozen=True)
class Answer:
    """The columns and rows that a query returned."""

    columns: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def connect(index: snapshot.Snapshot) -> duckdb.DuckDBPyConnection:
    """Returns an in-memory database that holds the snapshot and cannot be unlocked."""
    connection = duckdb.connect(":memory:", config=_LOCKED)
    _fill(connection, index)
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET lock_configuration = true")
    return connection


def write_database(index: snapshot.Snapshot, path: pathlib.Path) -> None:
    """Writes the snapshot as a DuckDB file, for use with other tools."""
    with duckdb.connect(str(path)) as connection:
        _fill(connection, index)
        connection.execute("CREATE TABLE snapshot (digest VARCHAR NOT NULL)")
        connection.execute("INSERT INTO snapshot VALUES (?)", [index.digest])


def run(index: snapshot.Snapshot, sql: str) -> Answer:
    """Runs one SELECT over the table `episodes`.

    Raises:
        QueryError: the text is not one SELECT, or DuckDB refuses it.
    """
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as e:
        raise _refusal(sql, e) from e
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = [statement.type.name for statement in statements]
        raise errors.QueryError(
            f"query {sql!r}", "one SELECT", kinds, "give one SELECT statement"
        )
    with connect(index) as connection:
        try:
            result = connection.execute(sql)
            columns = tuple(str(entry[0]) for entry in result.description or ())
            return Answer(columns, tuple(result.fetchall()))
        except duckdb.Error as e:
            raise _refusal(sql, e) from e


def select_ids(index: snapshot.Snapshot, where: str) -> frozenset[str]:
    """Returns the ids of the episodes for which the predicate `where` is true.

    Raises:
        QueryError: `where` is not one deterministic predicate over the columns.
    """
    with connect(index) as connection:
        _check_predicate(connection, where)
        try:
            answer = connection.execute(
                f"SELECT episode_id, (\n{where}\n) FROM {schema.TABLE}"
            )
            kind = str((answer.description or [])[1][1])
            found = answer.fetchall()
        except duckdb.Error as e:
            raise _refusal(where, e) from e
    if kind != "BOOLEAN":
        raise errors.QueryError(
            f"predicate {where!r}",
            "true or false for each row",
            kind,
            "compare a column with a value",
        )
    return frozenset(row[0] for row in found if row[1] is True)


def _fill(connection: duckdb.DuckDBPyConnection, index: snapshot.Snapshot) -> None:
    connection.execute(schema.duckdb_ddl())
    shape = json.dumps([{c.name: c.duckdb_type() for c in schema.COLUMNS}])
    # One statement per row takes 6 ms a row; one for all rows takes quadratic time.
    for batch in itertools.batched(index.rows, _BATCH_ROWS, strict=False):
        connection.execute(
            f"INSERT INTO {schema.TABLE} BY NAME "
            "SELECT unnest(from_json(CAST(? AS JSON), ?), max_depth := 2)",
            [canonical_json.encode(list(batch)).decode(), shape],
        )


def _select(where: str) -> str:
    # The line break ends a trailing comment before the closing bracket.
    return f"SELECT episode_id FROM {schema.TABLE} WHERE (\n{where}\n)"


def _check_predicate(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Refuses text that is more than one deterministic expression over a row.

    The parsed statement is compared with the one whose predicate is `true`. Text that
    closes the bracket early and adds another clause changes the statement outside of
    its predicate, and is found by that difference.
    """
    node = _parse(connection, where)
    expression = node.pop("where_clause", None)
    frame = _parse(connection, "true")
    frame.pop("where_clause")
    if node != frame or expression is None:
        raise errors.QueryError(
            f"predicate {where!r}",
            "one expression",
            "further clauses",
            "write only what would follow WHERE",
        )
    for part in _parts(expression):
        kind = part.get("class")
        if kind in _FORBIDDEN_CLASSES:
            raise errors.QueryError(
                f"predicate {where!r}",
                "an expression over one row",
                str(kind).lower(),
                "compare columns with values",
            )
        if kind == "COLUMN_REF":
            _check_column(where, part)
        if kind == "FUNCTION":
            _check_function(connection, where, str(part.get("function_name")))


def _parse(connection: duckdb.DuckDBPyConnection, where: str) -> dict[str, object]:
    found = connection.execute("SELECT json_serialize_sql(?)", [_select(where)])
    row = found.fetchone()
    tree: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise errors.QueryError(
            f"predicate {where!r}",
            "one SQL expression",
            tree.get("error_message", "no statement"),
            "correct it",
        )
    statements = tree["statements"]
    if len(statements) != 1:
        raise errors.QueryError(
            f"predicate {where!r}",
            "one expression",
            f"{len(statements)} statements",
            "remove the semicolon",
        )
    node: dict[str, object] = statements[0]["node"]
    return node


def _parts(value: object) -> Iterator[dict[str, object]]:
    children: Iterable[object] = ()
    if isinstance(value, dict):
        yield value
        children = value.values()
    elif isinstance(value, list):
        children = value
    for child in children:
        yield from _parts(child)


def _check_column(where: str, part: dict[str, object]) -> None:
    names = part.get("column_names")
    if not isinstance(names, list) or len(names) != 1 or names[0] not in schema.NAMES:
        raise errors.QueryError(
            f"predicate {where!r}",
            "a column of the index",
            names,
            f"the columns are {', '.join(schema.NAMES)}",
        )


def _check_function(
    connection: duckdb.DuckDBPyConnection, where: str, name: str
) -> None:
    found = connection.execute(
        "SELECT DISTINCT function_type, stability FROM duckdb_functions() "
        "WHERE function_name = ?",
        [name],
    ).fetchall()
    allowed = {("scalar", "CONSISTENT")}
    if not name.isidentifier():
        # `+` and `-` of times depend on the time zone, which `connect` sets to UTC.
        allowed.add(("scalar", "CONSISTENT_WITHIN_QUERY"))
    if not found or not allowed.issuperset(found):
        raise errors.QueryError(
            f"predicate {where!r}",
            "functions with the same answer in every run",
            name,
            "remove it",
        )


def _refusal(text: str, e: Exception) -> errors.QueryError:
    first_line = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
    return errors.QueryError(
        f"query {text!r}", "SQL that DuckDB runs", first_line, "correct the SQL"
    )
