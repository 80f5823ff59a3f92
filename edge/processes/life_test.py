"""What a life needs before it begins, and that it leaves no program behind."""

from pathlib import Path

from base import file_lock
from base.testing import command
from edge import simulated_or_real  # noqa: F401 - heavy, and each life is a fork

MODULE = "edge.processes.life"


def live(home: Path, *flags: str) -> command.Finished:
    return command.run(
        MODULE, f"--home={home}", f"--keyring={home / 'none'}", "--nights=1", *flags
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
    done = live(tmp_path / "home", "--channel=a")
    assert (done.code, len(done.err.splitlines())) == (1, 1)
    assert "choose another --home" in done.err
    assert sorted(tmp_path.rglob("*")) == [memory.parents[1], memory.parent, memory]


def test_channel_that_is_not_there_ends_the_life_and_all_its_programs(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    done = live(home, f"--channel={tmp_path}/channels/none.json")
    assert done.code == 1
    assert "update" in done.err.splitlines()[-1]
    locks = sorted(home.glob("run/*.lock"))
    assert locks
    for lock in locks:
        descriptor = file_lock.open_file(lock)
        assert file_lock.try_take(descriptor), f"{lock.stem} still runs"
