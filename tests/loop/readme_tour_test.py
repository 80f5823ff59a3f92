"""The tour in the README, as a newcomer runs it, from an empty folder to a robot."""

import re
from pathlib import Path

from tests.loop import binaries, tours

PROGRAMS = {
    "//cloud:curate": "cloud/curate/curate",
    "//cloud:index": "cloud/index/index",
    "//cloud:ingest": "cloud/ingest/ingest",
    "//cloud:train": "cloud/job/train",
    "//edge:label": "edge/processes/label",
    "//edge:life": "edge/processes/life",
    "//edge:record": "edge/record",
    "//edge:run": "edge/run",
    "//edge:upload": "edge/episodes/upload",
    "//rlds:show": "rlds/show/show",
}


def tour() -> list[str]:
    """Returns the commands of the README's tour, each on one line."""
    text = (binaries.root() / "README.md").read_text()
    section = text.partition("## One step at a time\n")[2].partition("\n## ")[0]
    return tours.list_commands(section)


# A night needs two episodes to judge by; this is as few as give them.
SHORT_LIFE = (
    "--robot=metaworld-changed:reach-v3@latency --nights=1 --own_episodes=8 "
    "--episodes=2 --shown=4 --measured_episodes=4"
)


def life() -> str:
    """Returns the README's command of a whole life, on one line."""
    text = re.sub(r"\\\n\s*", "", (binaries.root() / "README.md").read_text())
    found = re.findall(r"^ {4}(\./bazelw run //edge:life .*)$", text, re.MULTILINE)
    (command,) = map(str, found)
    return command


def test_the_tour_ends_with_a_blessed_package_that_drives_and_lives(
    tmp_path: Path,
) -> None:
    bazelw = tours.write_bazelw(tmp_path, PROGRAMS)
    commands = tour()
    assert len(commands) == 11 and commands[0].startswith("work=")
    script = "set -e\n" + "\n".join(commands).replace("./bazelw", str(bazelw))
    printed = tours.run(script, tmp_path)
    assert re.search(r"^verdict   blessed$", printed, re.MULTILINE), printed
    channel = re.search(r"^channel   (.*)$", printed, re.MULTILINE)
    assert channel is not None and Path(channel[1]).is_file()
    (drive,) = re.findall(r"^next      (.*)$", printed, re.MULTILINE)
    assert str(channel[1]) in drive
    driven = tours.run(drive.replace("./bazelw", str(bazelw)), tmp_path)
    assert re.search(r"^reach-v3 +5 ", driven, re.MULTILINE), driven
    (keyring,) = re.findall(r"--keyring=\S+", drive)
    share = f"share={Path(channel[1]).parents[2]}"
    lived = f"{life()} {keyring} {SHORT_LIFE} --home={tmp_path}/life"
    told = tours.run(f"{share}\n{lived}".replace("./bazelw", str(bazelw)), tmp_path)
    night = r"^ +night: slow: delta \w+ accepted .* found: arm [789] steps late"
    assert re.search(night, told, re.MULTILINE), told
    assert "the change cost" in told, told
    assert (tmp_path / "life" / "life.svg").is_file()
