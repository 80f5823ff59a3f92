from cloud.testing import printed_table
from tests.benchmarks import commands, recurrence_forms


def test_every_form_is_measured_at_every_length_and_width() -> None:
    done = commands.run(
        "recurrence_forms.py",
        *("--preset=tiny", "--length=3", "--length=20", "--steps=40", "--repeats=2"),
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split("│") for line in done.stdout.splitlines() if "tiny" in line]
    cells = [[cell.strip() for cell in row[1:-1]] for row in rows]
    assert [row[:4] for row in cells] == [
        ["tiny", "16", "13", "3"],
        ["tiny", "16", "2", "20"],
    ]
    assert all(float(ms) > 0 for row in cells for ms in row[4:7])
    assert all(row[7] in ("sequential", "associative", "chunked") for row in cells)


def test_table_shows_every_figure_on_a_terminal_and_in_a_pipe() -> None:
    row = ("seed", "1024", "4096", "16384", "1234.56", "7890.12", "3456.78")
    table = recurrence_forms._table(
        "Forward and backward of one block, ms, NVIDIA H100 80GB HBM3",
        [(*row, "associative", "sequential")],
    )
    printed_table.require_whole([*row, "associative", "sequential"], table)
