"""Tests of //cloud:index as a command, after //cloud:ingest with the same defaults."""

import stat
from pathlib import Path

import pytest

from base.store.store import LocalStore
from base.testing import command
from cloud.ingest import admission, ingest_key
from cloud.testing.raw_robot import TRUSTED, RawRobot, ingest, make_raw

_ROBOT = RawRobot(1)
_LIMIT_BYTES = 1 << 20
raw = pytest.fixture(make_raw)


def test_key_is_made_on_first_use_and_only_its_owner_can_read_it(
    raw: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = _ROBOT.upload(raw, _ROBOT.record(1))
    arguments = (f"--raw={raw.root}", f"--enrolled={_ROBOT.enrolment_file(tmp_path)}")
    assert command.run("cloud.ingest.ingest", *arguments).code == 0
    key = Path(ingest_key.KEY_FILE).expanduser()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    before = key.read_bytes()
    trusted = ingest_key.read_trusted(ingest_key.PUBLIC_FILE)
    data = raw.get(folder.admission, _LIMIT_BYTES)
    assert admission.verify(data, folder, trusted).admitted
    assert command.run("cloud.ingest.ingest", *arguments).code == 0
    assert key.read_bytes() == before
    assert raw.get(folder.admission, _LIMIT_BYTES) == data
    index = f"--index={tmp_path / 'index'}"
    done = command.run("cloud.index.index", f"--raw={raw.root}", index)
    assert (done.code, done.err) == (0, "")
    assert "1 episodes indexed; 0 quarantined" in done.out


def test_fleet_brings_a_key_that_ingest_leaves_as_it_is(
    raw: LocalStore, tmp_path: Path
) -> None:
    _ROBOT.upload(raw, _ROBOT.record(1))
    key, public = tmp_path / "fleet.json", tmp_path / "public.json"
    made = command.run(
        "release.commands.generate_key",
        f"--key_file={key}",
        f"--keyring={public}",
        "--role=admission",
    )
    assert made.code == 0, made.err
    before = {path: path.read_bytes() for path in (key, public)}
    arguments = (f"--raw={raw.root}", f"--enrolled={_ROBOT.enrolment_file(tmp_path)}")
    done = command.run("cloud.ingest.ingest", *arguments, f"--ingest_key={key}")
    assert done.code == 0, done.err
    assert {path: path.read_bytes() for path in (key, public)} == before
    assert not key.with_name("fleet.public.json").exists()
    index = (f"--raw={raw.root}", f"--index={tmp_path / 'index'}")
    done = command.run("cloud.index.index", *index, f"--ingest_public={public}")
    assert "1 episodes indexed" in done.out


def test_index_without_the_public_key_names_the_flag(
    raw: LocalStore, tmp_path: Path
) -> None:
    _ROBOT.upload(raw, _ROBOT.record(1))
    done = command.run(
        "cloud.index.index",
        f"--raw={raw.root}",
        f"--index={tmp_path / 'index'}",
        f"--ingest_public={tmp_path / 'absent.json'}",
    )
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert "run //cloud:ingest on this machine first" in done.err
    assert not (tmp_path / "index").exists()


def test_refused_verdicts_are_named_and_the_rest_is_indexed(
    raw: LocalStore, tmp_path: Path
) -> None:
    bad, good = (_ROBOT.upload(raw, _ROBOT.record(number)) for number in range(2))
    ingest(raw, _ROBOT)
    raw.put(bad.admission, b'{"status":"admitted"}')
    public = tmp_path / "public.json"
    public.write_bytes(TRUSTED.encode())
    done = command.run(
        "cloud.index.index",
        f"--raw={raw.root}",
        f"--index={tmp_path / 'index'}",
        f"--ingest_public={public}",
        "--query=SELECT path FROM episodes",
    )
    assert (done.code, done.err) == (0, "")
    assert f"refused {bad.path}: " in done.out
    assert "1 episodes indexed; 0 quarantined, 0 not judged yet, 1 refused" in done.out
    assert good.path in done.out
