"""The columns of the episode index, written once for every engine.

A row is a JSON object with exactly these names. DuckDB's table on one machine and
BigQuery's in the cloud are both derived from `COLUMNS`, so that the same query runs
on both.
"""

import dataclasses
import re
from collections.abc import Mapping

from cloud import errors

TABLE = "episodes"

Row = Mapping[str, object]

_DUCKDB_TYPES = {
    "STRING": "VARCHAR",
    "INT64": "BIGINT",
    "BOOL": "BOOLEAN",
    "DATE": "DATE",
}
_PYTHON_TYPES = {"STRING": str, "INT64": int, "BOOL": bool, "DATE": str}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: its name, BigQuery type, meaning, and whether it holds a list."""

    name: str
    kind: str
    doc: str
    repeated: bool = False

    def duckdb_type(self) -> str:
        """Returns the column's type in DuckDB."""
        return _DUCKDB_TYPES[self.kind] + ("[]" if self.repeated else "")

    def bigquery_field(self) -> dict[str, str]:
        """Returns the column as a field of a BigQuery schema."""
        return {
            "name": self.name,
            "type": self.kind,
            "mode": "REPEATED" if self.repeated else "REQUIRED",
            "description": self.doc,
        }

    def accepts(self, value: object) -> bool:
        """Tells whether a JSON value fits the column."""
        if self.repeated:
            return isinstance(value, list) and all(map(self._accepts_one, value))
        return self._accepts_one(value)

    def _accepts_one(self, value: object) -> bool:
        if type(value) is not _PYTHON_TYPES[self.kind]:
            return False
        return self.kind != "DATE" or bool(_DATE.fullmatch(str(value)))


COLUMNS: tuple[Column, ...] = (
    Column("episode_id", "STRING", "UUIDv7 of the episode; the table's primary key"),
    Column("sha256", "STRING", "SHA-256 of episode.tfrecord, lower-case hex"),
    Column("size_bytes", "INT64", "size of episode.tfrecord"),
    Column("num_steps", "INT64", "steps in the episode"),
    Column("state_size", "INT64", "length of observation/state"),
    Column("action_size", "INT64", "length of action and proposed_action"),
    Column("has_image", "BOOL", "whether steps carry observation/image"),
    Column("cameras", "STRING", "names of the cameras, joined by commas; or empty"),
    Column("audio_size", "INT64", "length of observation/audio_mel, 0 without audio"),
    Column("robot_hash", "STRING", "keyed hash of the robot's id"),
    Column("robot_model", "STRING", "the kind of robot"),
    Column("environment_id", "STRING", "where the robot acted"),
    Column("task", "STRING", "what the robot was asked to do"),
    Column("operator", "STRING", "expert, human, or policy:<digest12>"),
    Column("success", "INT64", "1 reached, 0 not reached, -1 not known"),
    Column("date", "DATE", "day of recording, UTC"),
    Column("start_time", "STRING", "start, RFC 3339, hour resolution"),
    Column("location", "STRING", "coarse location"),
    Column("tags", "STRING", "free labels", repeated=True),
    Column("channel", "STRING", "channel of the package that ran"),
    Column("package_digest", "STRING", "digest of the package that ran"),
    Column("delta_digest", "STRING", "digest of the local delta that ran"),
    Column("software_version", "STRING", "version of the recorder"),
    Column("schema_version", "STRING", "version of the episode format"),
    Column("consent_granted", "BOOL", "the operator agreed to the upload"),
    Column("escalated", "BOOL", "uploaded because of a safety violation"),
    Column("safety_violations", "INT64", "steps that violated the safety config"),
    Column("transform_version", "STRING", "version of the redaction"),
    Column("frames_masked", "INT64", "image frames changed by the redaction"),
    Column("path", "STRING", "the episode's folder below the raw root"),
)
NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)
# Episodes that agree in these have the same `rlds.spec.EpisodeSpec`.
SHAPE_COLUMNS = ("state_size", "action_size", "has_image", "cameras", "audio_size")


def duckdb_ddl() -> str:
    """Returns the statement that creates the table in DuckDB."""
    lines = [f"{c.name} {c.duckdb_type()} NOT NULL" for c in COLUMNS]
    return f"CREATE TABLE {TABLE} ({', '.join(lines)}, PRIMARY KEY (episode_id))"


def bigquery_schema() -> list[dict[str, str]]:
    """Returns the table's fields as BigQuery's REST API takes them."""
    return [column.bigquery_field() for column in COLUMNS]


def check_row(row: object, where: str) -> Row:
    """Returns `row` if it has exactly the columns, each with a value of its type.

    Args:
        row: a parsed JSON value.
        where: the file and line, for the error message.

    Raises:
        SnapshotError: a column is missing, unknown, or of another type.
    """
    if not isinstance(row, dict) or set(row) != set(NAMES):
        got = sorted(set(row) ^ set(NAMES)) if isinstance(row, dict) else row
        raise errors.SnapshotError(
            where,
            "the index's columns",
            f"a difference in {got}",
            "run //cloud:index again",
        )
    for column in COLUMNS:
        if not column.accepts(row[column.name]):
            raise errors.SnapshotError(
                where,
                f"{column.name} to be {column.kind}",
                f"{row[column.name]!r}",
                "run //cloud:index again",
            )
    return row
