"""The commands of docs/your-robot.md, from an empty folder to a package that drives."""

import re
from pathlib import Path

from tests.loop import binaries, tours

PROGRAMS = {
    "//cloud:curate": "cloud/curate/curate",
    "//cloud:index": "cloud/index/index",
    "//cloud:ingest": "cloud/ingest/ingest",
    "//cloud:train": "cloud/job/train",
    "//edge:check_robot": "edge/check_robot",
    "//edge:record": "edge/record",
    "//edge:run": "edge/run",
    "//edge:upload": "edge/episodes/upload",
}


def test_robot_of_the_page_is_trained_blessed_and_driven(tmp_path: Path) -> None:
    page = (binaries.root() / "docs/your-robot.md").read_text()
    bazelw = tours.write_bazelw(tmp_path, PROGRAMS)
    # All but those that need a camera, a microphone or a car.
    commands = [
        one
        for one in tours.list_commands(page)
        if not any(port in one for port in ("/dev/", "alsa:"))
    ]
    assert len(commands) == 12 and commands[0].startswith("work=")
    saved = re.search(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert saved is not None
    (tmp_path / "your-robot").mkdir()
    (tmp_path / "your-robot/my_arm.py").write_text(saved[1])
    script = "set -e\n" + "\n".join(commands).replace("./bazelw", str(bazelw))
    printed = tours.run(script, tmp_path)
    assert re.search(r"^verdict   blessed$", printed, re.MULTILINE), printed
    (drive,) = re.findall(r"^next      (.*)$", printed, re.MULTILINE)
    assert "my_arm.py:MyArm:touch" in drive
    driven = tours.run(drive.replace("./bazelw", str(bazelw)), tmp_path)
    assert re.search(r"^touch +5 ", driven, re.MULTILINE), driven
