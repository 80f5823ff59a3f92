"""The README's two commands for other people's data, run as a person copies them."""

import re
from pathlib import Path

import pytest

from cloud.testing import other_data
from tests.loop import binaries, tours

PROGRAMS = {
    "//cloud:import": "cloud/exchange/import_dataset",
    "//cloud:train": "cloud/job/train",
}


def two_commands() -> list[str]:
    """Returns the commands of the README's section, each on one line."""
    text = (binaries.root() / "README.md").read_text()
    section = text.partition("## Other people's data\n")[2].partition("\n## ")[0]
    return tours.list_commands(section)


def write_rlds(folder: Path) -> Path:
    episodes = [other_data.oxe_steps(12, number) for number in range(40)]
    return other_data.write_rlds(folder, {"train": episodes})


def write_lerobot(folder: Path) -> Path:
    return other_data.write_lerobot(folder, [12] * 40, per_file=20)


@pytest.mark.parametrize("form", ["rlds", "lerobot"])
def test_model_is_trained_on_data_of_others_with_two_commands(
    tmp_path: Path, form: str
) -> None:
    write = write_rlds if form == "rlds" else write_lerobot
    source = write(tmp_path / "downloaded")
    bazelw = tours.write_bazelw(tmp_path, PROGRAMS)
    imported, trained = two_commands()
    imported = imported.replace("FOLDER", str(source)).replace("NAME", "others")
    imported += " --control_hz=10" if form == "rlds" else ""
    printed = tours.run(imported.replace("./bazelw", str(bazelw)), tmp_path)
    (suggested,) = re.findall(r"^next: (.*)$", printed, re.MULTILINE)
    home = str(tmp_path)
    plain = trained.replace("NAME", "others").replace("$HOME", home)
    assert suggested.startswith(plain)  # and limits, which these actions need
    assert "--action_minimum=" in suggested
    command = f"{suggested} --updates=30"
    report = tours.run(command.replace("./bazelw", str(bazelw)), tmp_path)
    assert re.search(r"^verdict +\w+ on held-out evidence$", report, re.MULTILINE)
    assert re.search(r"^package +\S+/pi5-cpu$", report, re.MULTILINE)
