import os
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).with_name("recurrence_forms.py")


def test_every_form_is_measured_at_every_length_and_width() -> None:
    done = subprocess.run(
        [
            *(sys.executable, str(_PROGRAM), "--preset=tiny", "--length=3"),
            *("--length=20", "--steps=40", "--repeats=2"),
        ],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "120",
        },
        capture_output=True,
        text=True,
        check=False,
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
