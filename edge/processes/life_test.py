"""What a life needs before it begins, what it leaves behind, and how it is shown."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from base import file_lock
from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each life is a fork
from edge.processes import life_report
from edge.processes.life_report import Day
from release.trusted_keys import TrustedKeys

MODULE = "edge.processes.life"
DELTA = "ab" * 32
DAYS = [
    Day("before", "unchanged", "", 20, 20),
    Day("day 1", "changed", "", 12, 20, 4, "slow: delta accepted & kept"),
    Day("after", "changed", DELTA, 18, 20),
    Day("again", "unchanged", DELTA, 19, 20),
]


def live(home: Path, *flags: str) -> command.Finished:
    keyring = home.with_name("keyring.json")
    keyring.write_bytes(TrustedKeys.from_keys(allow_development=False).encode())
    return command.run(
        MODULE, f"--home={home}", f"--keyring={keyring}", "--nights=1", *flags
    )


def test_robot_that_does_not_change_is_wrong_usage(tmp_path: Path) -> None:
    done = live(tmp_path / "home", "--channel=a", "--robot=metaworld:reach-v3")
    assert done.code == 2
    assert "expected --robot=metaworld-changed:TASK" in done.err
    assert not (tmp_path / "home").exists()


def test_robot_that_has_lived_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    memory = tmp_path / "home" / "memories" / "kept"
    memory.parent.mkdir(parents=True)
    memory.write_text("kept")
    done = live(tmp_path / "home", "--channel=channels/nightly.json")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "choose another --home" in done.err
    left = [memory.parents[1], memory.parent, memory, tmp_path / "keyring.json"]
    assert sorted(tmp_path.rglob("*")) == left


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--channel=a", "--channel: expected STORE/channels/NAME.json"),
        ("--update_channel=a", "--update_channel: expected STORE/channels/NAME.json"),
        ("--keyring=none", "--keyring: expected a keyring, got no file none; name"),
    ],
)
def test_flag_that_names_no_channel_or_keyring_is_wrong_usage(
    tmp_path: Path, flag: str, said: str
) -> None:
    done = live(tmp_path / "home", "--channel=channels/nightly.json", flag)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"life: {said}")
    assert done.err.count("\n") == 1
    assert not (tmp_path / "home").exists()


def test_channel_that_is_not_there_ends_the_life_and_all_its_programs(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    done = live(home, f"--channel={tmp_path}/channels/nightly.json")
    assert done.code == 1
    assert "update" in done.err.splitlines()[-1]
    locks = sorted(home.glob("run/*.lock"))
    assert locks
    for lock in locks:
        descriptor = file_lock.open_file(lock)
        assert file_lock.try_take(descriptor), f"{lock.stem} still runs"


def test_table_has_a_line_for_each_day_and_one_for_each_night() -> None:
    lines = life_report.format_table(DAYS).splitlines()
    assert len(lines) == 1 + len(DAYS) + 1
    assert lines[2].split() == [
        "day",
        "1",
        "changed",
        "60%",
        "39%",
        "to",
        "78%",
        "4",
        "-",
    ]
    assert lines[3].strip() == "night: slow: delta accepted & kept"
    assert DELTA[:12] in lines[4]


def test_summary_says_what_was_won_back_and_what_was_forgotten() -> None:
    assert life_report.summarize(DAYS) == (
        "the change cost 40 points; won back 75% of them; forgotten 5 points"
    )


def test_change_that_costs_nothing_has_nothing_to_win_back() -> None:
    days = [DAYS[0], Day("day 1", "changed", "", 20, 20), *DAYS[2:]]
    assert life_report.summarize(days) == (
        "the change cost 0 points; forgotten 5 points"
    )


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [(49, 50, 0.895, 0.996), (0, 20, 0.0, 0.161), (20, 20, 0.839, 1.0), (0, 0, 0, 1)],
)
def test_interval_is_wilsons(
    successes: int, episodes: int, low: float, high: float
) -> None:
    found = Day("day", "changed", "", successes, episodes).interval()
    assert found == pytest.approx((low, high), abs=1e-3)


def test_days_can_be_read_by_a_program() -> None:
    days = json.loads(life_report.encode(DAYS))["days"]
    assert [Day(**day) for day in days] == DAYS


def test_picture_is_whole_and_names_every_day() -> None:
    picture = life_report.draw(DAYS, "reach <&> push")
    root = ElementTree.fromstring(picture)
    text = "".join(root.itertext())
    assert all(day.name in text for day in DAYS)
    assert "reach <&> push" in text and "href" not in picture
    circles = [e for e in root.iter() if e.tag.endswith("circle")]
    legend, circles = circles[:-4], circles[-4:]
    assert len({e.attrib["fill"] for e in legend}) == len(legend) == 2
    for name in ("robot unchanged", "robot changed", "95 % interval", "drove with"):
        assert name in text
    heights = [float(e.attrib["cy"]) for e in circles]
    # Higher is better, and y grows downwards.
    assert sorted(range(4), key=lambda i: heights[i]) == [0, 3, 2, 1]
