"""Rows of an index for tests, each with the same values but for what a test names."""

from cloud.index import schema
from rlds.raw_layout import RawFolder


def episode_id(number: int) -> str:
    """Returns the id of the test episode `number`."""
    return f"01900000-0000-7000-8000-{number:012x}"


def row(
    number: int, robot: int = 0, day: int | None = None, **values: object
) -> dict[str, object]:
    """Returns a row; `robot` and `day` choose its group."""
    day = number % 28 + 1 if day is None else day
    robot_hash = f"{robot:064x}"
    date = f"2026-01-{day:02d}"
    standard: dict[str, object] = {
        column.name: {"STRING": "", "INT64": 0, "BOOL": False}.get(column.kind)
        for column in schema.COLUMNS
    } | {
        "episode_id": episode_id(number),
        "sha256": f"{number:064x}",
        "robot_hash": robot_hash,
        "date": date,
        "tags": [],
        "state_size": 3,
        "action_size": 2,
        "path": RawFolder(robot_hash, date, episode_id(number)).path,
    }
    return standard | values
