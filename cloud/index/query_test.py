from pathlib import Path

import pytest

from cloud.errors import QueryError
from cloud.index import query, snapshot
from cloud.testing import records

SPOKEN = "pick up the cube, s'il te plaît 🤖"
_SPOKEN_SQL = "'pick up the cube, s''il te plaît 🤖'"


def _index() -> snapshot.Snapshot:
    rows = [
        records.index_row(number, task=task, success=success, tags=tags)
        for number, (task, success, tags) in enumerate(
            [
                ("reach-v3", 1, ["bench"]),
                ("reach-v3", 0, []),
                ("push-v3", 1, ["bench", "recovered"]),
                (SPOKEN, 1, []),
            ]
        )
    ]
    return snapshot.parse(snapshot.encode(rows), "snapshot.jsonl")


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("true", [0, 1, 2, 3]),
        ("success = 1", [0, 2, 3]),
        (f"task = {_SPOKEN_SQL}", [3]),
        (f"task IN ('push-v3', {_SPOKEN_SQL})", [2, 3]),
        ("task IN ('reach-v3') AND NOT success = 1", [1]),
        ("list_contains(tags, 'recovered')", [2]),
        ("date BETWEEN '2026-01-01' AND '2026-01-02'", [0, 1]),
        ("lower(task) LIKE 'push%' -- pushing only", [2]),
        ("success + 1 > 1", [0, 2, 3]),
        ("true) OR (false", [0, 1, 2, 3]),
    ],
)
def test_predicate_selects_the_rows_for_which_it_is_true(
    where: str, numbers: list[int]
) -> None:
    found = query.select_ids(_index(), where)
    assert found == {records.episode_id(number) for number in numbers}


@pytest.mark.parametrize(
    ("where", "text"),
    [
        ("true; DROP TABLE episodes", "syntax error"),
        ("true); DROP TABLE episodes; SELECT (1", "correct it"),
        ("true); SELECT (1", "2 statements"),
        ("true) ORDER BY (episode_id", "further clauses"),
        ("true) UNION SELECT ('x'", "further clauses"),
        ("true) LIMIT (1", "further clauses"),
        ("episode_id IN (SELECT 'x')", "got subquery"),
        ("EXISTS (FROM read_text('/etc/passwd'))", "got subquery"),
        ("random() < 0.5", "same answer in every run, got random"),
        ("start_time < CAST(now() AS VARCHAR)", "same answer in every run, got now"),
        ("date < current_date", "current_date"),
        ("success =", "correct it"),
        ("", "true or false for each row"),
        ("-- nothing", "true or false for each row"),
        ("success", "true or false for each row, got"),
        ("true, false", "true or false for each row"),
        ("no_such_column = 1", "a column of the index"),
        ("success = ?", "got parameter"),
        ("getvariable('x') = 1", "same answer"),
        ("count(*) > 1", "same answer"),
        ("row_number() OVER () < 2", "got window"),
        ("task > 5 + 'x'", "correct the SQL"),
    ],
)
def test_anything_but_one_deterministic_predicate_is_refused(
    where: str, text: str
) -> None:
    with pytest.raises(QueryError, match=r"predicate|query") as caught:
        query.select_ids(_index(), where)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_query_answers_with_columns_and_rows() -> None:
    answer = query.run(
        _index(), "SELECT task, count(*) AS n FROM episodes GROUP BY task ORDER BY task"
    )
    assert answer.columns == ("task", "n")
    assert answer.rows == ((SPOKEN, 1), ("push-v3", 1), ("reach-v3", 2))
    found = query.run(_index(), f"SELECT 1 FROM episodes WHERE task = {_SPOKEN_SQL}")
    assert found.rows == ((1,),)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE episodes",
        "SELECT 1; SELECT 2",
        "",
        "SELEC 1",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY episodes TO 'stolen.csv'",
        "SET lock_configuration = false",
        "SELECT * FROM nothing",
    ],
)
def test_query_that_is_not_one_select_over_the_index_is_refused(
    sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(QueryError):
        query.run(_index(), sql)
    assert list(tmp_path.iterdir()) == []


def test_database_file_holds_the_rows_and_the_snapshots_digest(tmp_path: Path) -> None:
    import duckdb

    index = _index()
    query.write_database(index, tmp_path / "episodes.duckdb")
    with duckdb.connect(str(tmp_path / "episodes.duckdb"), read_only=True) as database:
        assert database.execute("SELECT count(*) FROM episodes").fetchall() == [(4,)]
        assert database.execute("FROM snapshot").fetchall() == [(index.digest,)]
