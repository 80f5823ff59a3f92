"""Consent is given, refused and taken back, and killed at every write meanwhile."""

import contextlib
import functools
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.digest import sha256_bytes
from base.errors import ContinuonError
from base.store.store import LocalStore
from edge.episodes import consents, deciding, robot_key, upload
from edge.episodes.consents import Wish
from edge.episodes.deciding import Deciding, Done
from edge.episodes.provenance import Provenance
from edge.errors import ConsentError, KeyFileError
from edge.robots.simulated_point import SPEC
from edge.testing import power_cuts, recordings, simulated_episodes
from rlds import consent_record, sidecar, tfds_directory
from rlds.consent_record import Decision

KEY = robot_key.derive_simulated(simulated_episodes.ROBOT_ID)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_NS = 1_772_352_000_000_000_000  # the same
GRANTED, REFUSED, TAKEN_BACK = Decision


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two episodes to which nobody has consented yet."""
    simulated_episodes.make(tmp_path / "out", 2, consent=False)
    return tmp_path / "out"


@pytest.fixture
def consented(tmp_path: Path) -> Path:
    """Two episodes that were recorded with consent."""
    simulated_episodes.make(tmp_path / "yes", 2)
    return tmp_path / "yes"


def open_deciding(folder: Path) -> Deciding:
    def find_key(keyid: str, day: str) -> robot_key.RobotKey:
        if KEY.of_month(day).keyid != keyid:
            raise KeyFileError("--key_file", keyid, "another", "name another one")
        return KEY

    return Deciding(folder, lambda: deciding.open_directory(folder), find_key)


def decide(folder: Path, name: str, decision: Decision) -> Done:
    return open_deciding(folder).decide(name, decision, NOW_NS)


def store_at(path: Path) -> LocalStore:
    path.mkdir(exist_ok=True)
    return LocalStore(path)


def send(folder: Path, store: LocalStore) -> upload.Tally:
    return upload.upload(folder, store, NOW)


def names_in(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.tfrecord"))


def files_of(store: LocalStore, name: str) -> list[str]:
    """Names of the files that a store holds of an episode."""
    found = [path for path in store.list("") if f"episode_id={name}/" in path]
    return sorted(path.rpartition("/")[2] for path in found)


def check_whole(folder: Path) -> None:
    """The folder opens as a dataset of exactly the episodes that have a sidecar."""
    listed = set(deciding.open_directory(folder).episode_files)
    with_sidecar = {path.name.split(".")[0] for path in folder.glob("*.sidecar.json")}
    assert {name.removesuffix(".tfrecord") for name in listed} == with_sidecar
    for index in range(len(listed)):
        link = folder / tfds_directory.shard_path("train", index)
        assert link.resolve(strict=True).name in listed


def test_episode_is_sent_once_somebody_has_granted_it(
    folder: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    assert send(folder, store) == upload.Tally(private=2)
    first, second = names_in(folder)
    done = decide(folder, first, GRANTED)
    assert (done.record.counter, done.record.decision) == (1, GRANTED)
    assert done.record.at == "2026-03-01T08:00:00Z"
    assert send(folder, store) == upload.Tally(sent=1, private=1)
    assert files_of(store, first) == [
        "consent-1.json",
        "episode.tfrecord",
        "sidecar.json",
    ]
    assert files_of(store, second) == []
    target = tmp_path / "store" / next(p for p in store.list("") if "consent-" in p)
    record = consent_record.verify(
        target.read_bytes(), {KEY.keyid: KEY.signing.public_key()}
    )
    assert record.is_granted
    held = target.with_name("episode.tfrecord").read_bytes()
    assert record.sha256 == sha256_bytes(held)
    stated = sidecar.parse(target.with_name("sidecar.json").read_bytes())
    assert stated.consent.granted and stated.consent.by == "operator"
    assert send(folder, store) == upload.Tally(receipted=1, private=1)
    assert decide(folder, first, GRANTED).record.counter == 1  # twice is once


def test_refused_episode_stays_though_it_was_recorded_with_consent(
    consented: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    first, second = names_in(consented)
    decide(consented, first, REFUSED)
    assert send(consented, store) == upload.Tally(sent=1, private=1)
    assert files_of(store, first) == []
    assert names_in(consented) == [first, second]
    (consented / f"{first}.consent.json").unlink()  # the sidecar says it too
    assert send(consented, store) == upload.Tally(receipted=1, private=1)


def test_refused_episode_stays_though_a_stop_rule_fired_in_it(tmp_path: Path) -> None:
    folders = tmp_path / "out", tmp_path / "private"
    with recordings.open_folders(folders, consent=False) as recording:
        recorder = recording.begin(
            SPEC,
            recordings.NAME,
            simulated_episodes.START_UNIX_NS,
            Provenance(actor="expert"),
        )
        recorder.append(recordings.step(0))
        recorder.append(recordings.step(1, is_last=True, violation=True))
        recording.share(recorder.close(success=False)[0])
    store = store_at(tmp_path / "store")
    decide(folders[0], recordings.NAME, REFUSED)
    assert send(folders[0], store) == upload.Tally(private=1)
    decide(folders[0], recordings.NAME, GRANTED)
    assert send(folders[0], store) == upload.Tally(sent=1)


def test_episode_taken_back_before_its_upload_is_deleted_and_never_sent(
    consented: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    first, second = names_in(consented)
    done = decide(consented, first, TAKEN_BACK)
    assert done.stores == ()
    assert names_in(consented) == [second]
    left = [path.name for path in consented.glob(f"{first}*")]
    assert left == [f"{first}.consent.json"]
    check_whole(consented)
    assert send(consented, store) == upload.Tally(sent=1)
    assert files_of(store, first) == []
    with pytest.raises(ConsentError, match="it was deleted: only what is here"):
        decide(consented, first, GRANTED)
    assert decide(consented, first, TAKEN_BACK).record == done.record


def test_episode_taken_back_is_not_shared_again_when_its_raw_copy_was_left(
    tmp_path: Path,
) -> None:
    folders = tmp_path / "out", tmp_path / "private"
    given: list[str] = []
    with recordings.open_folders(folders) as recording:
        recording.share(recordings.begin(recording).close(success=True)[0])
    raw = folders[1] / f"{recordings.NAME}.tfrecord"
    copy = (folders[0] / raw.name).read_bytes()
    decide(folders[0], recordings.NAME, TAKEN_BACK)
    raw.write_bytes(copy)  # as a cut leaves it
    told: list[str] = []
    with recordings.open_folders(
        folders, told=told, hand_over=lambda path: given.append(path.name)
    ) as recording:
        list(recording.recover())
    assert told == [f"{recordings.NAME} is not shared: it was taken back"]
    assert given == [raw.name]  # what the robot learns from stays on it
    assert not raw.exists()
    assert names_in(folders[0]) == []


def test_episode_taken_back_after_its_upload_asks_each_store_once_to_erase_it(
    consented: Path, tmp_path: Path
) -> None:
    one, two, three = (store_at(tmp_path / name) for name in ("one", "two", "three"))
    first, second = names_in(consented)
    for store in (one, two):
        assert send(consented, store) == upload.Tally(sent=2)
    done = decide(consented, first, TAKEN_BACK)
    assert done.stores == tuple(sorted((one.uri, two.uri)))
    assert names_in(consented) == [second]
    for store in (one, two):
        assert send(consented, store).erasing == 1
        assert "consent-1.json" in files_of(store, first)
        assert send(consented, store).erasing == 0
    assert send(consented, three) == upload.Tally(sent=1)
    assert files_of(three, first) == []
    (path,) = (path for path in one.list("") if path.endswith("consent-1.json"))
    raw = (tmp_path / "one" / path).read_bytes()
    record = consent_record.verify(raw, {KEY.keyid: KEY.signing.public_key()})
    assert record.decision is TAKEN_BACK


def test_episode_that_the_quota_removed_after_its_upload_can_be_taken_back(
    consented: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    name = names_in(consented)[0]
    send(consented, store)
    for path in (f"{name}.tfrecord", f"{name}.sidecar.json", f"sent/{name}.sent.json"):
        (consented / path).unlink()
    assert decide(consented, name, TAKEN_BACK).stores == (store.uri,)
    assert send(consented, store).erasing == 1


def test_episode_with_the_receipt_of_an_older_uploader_can_be_taken_back(
    consented: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    name = names_in(consented)[0]
    send(consented, store)
    # Which wrote no list of stores, and its receipt beside the episode.
    (consented / "sent" / f"{name}.stores.json").unlink()
    receipt = consented / "sent" / f"{name}.sent.json"
    receipt.rename(consented / receipt.name)
    assert decide(consented, name, TAKEN_BACK).stores == (store.uri,)
    assert send(consented, store).erasing == 1


def test_newest_of_several_decisions_counts(folder: Path, tmp_path: Path) -> None:
    store = store_at(tmp_path / "store")
    name = names_in(folder)[0]
    for number, decision in enumerate((GRANTED, REFUSED, GRANTED, REFUSED), 1):
        assert decide(folder, name, decision).record.counter == number
    assert send(folder, store) == upload.Tally(private=2)
    assert decide(folder, name, GRANTED).record.counter == 5
    assert send(folder, store) == upload.Tally(sent=1, private=1)
    assert "consent-5.json" in files_of(store, name)
    decide(folder, name, REFUSED)  # which asks, too, and keeps the copy here
    assert send(folder, store) == upload.Tally(private=2, told=1, erasing=1)
    assert name in names_in(folder)


@pytest.mark.parametrize("change", ["decision", "counter", "signature", "cut", "pipe"])
def test_record_that_cannot_be_believed_holds_its_episode(
    consented: Path, tmp_path: Path, change: str
) -> None:
    name = names_in(consented)[0]
    decide(consented, name, GRANTED)
    path = consented / f"{name}.consent.json"
    raw = path.read_bytes()
    value = json.loads(raw)
    if change == "cut":
        path.write_bytes(raw[:-1])
    elif change == "pipe":
        path.unlink()
        path.mkdir()
    else:
        other = {"decision": "refused", "counter": 9, "signature": "AA=="}
        value[change] = other[change]
        path.write_text(json.dumps(value, separators=(",", ":")))
    store = store_at(tmp_path / "store")
    tally = send(consented, store)
    assert tally.sent == 1
    assert {path for path, _ in tally.refused} >= {consented / f"{name}.sidecar.json"}
    assert files_of(store, name) == []
    decide(consented, name, REFUSED)  # makes way
    assert send(consented, store) == upload.Tally(receipted=1, private=1)


def test_record_of_another_episode_under_its_name_holds_it(
    consented: Path, tmp_path: Path
) -> None:
    first, second = names_in(consented)
    decide(consented, first, GRANTED)
    copy = consented / f"{second}.consent.json"
    shutil.copy(consented / f"{first}.consent.json", copy)
    tally = send(consented, store_at(tmp_path / "store"))
    assert tally.sent == 1
    assert "one of another episode" in tally.refused[0][1]


def test_grant_is_for_the_bytes_that_were_looked_at(
    folder: Path, tmp_path: Path
) -> None:
    name = names_in(folder)[0]
    with pytest.raises(ConsentError, match="one that was changed since"):
        open_deciding(folder).decide(name, GRANTED, NOW_NS, "ab" * 32)
    path = folder / f"{name}.tfrecord"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ContinuonError):
        decide(folder, name, GRANTED)
    assert send(folder, store_at(tmp_path / "store")) == upload.Tally(private=2)


def test_wish_holds_an_episode_at_once_and_lets_none_go(
    folder: Path, consented: Path, tmp_path: Path
) -> None:
    store = store_at(tmp_path / "store")
    name = names_in(consented)[0]
    consents.write_wish(consented, name, Wish(TAKEN_BACK, "ab" * 32))
    assert send(consented, store) == upload.Tally(sent=1, private=1)
    held = names_in(folder)[0]
    consents.write_wish(folder, held, Wish(GRANTED, digest(folder, held)))
    other = store_at(tmp_path / "other")
    assert send(folder, other) == upload.Tally(private=2)
    for one in (folder, consented):
        assert open_deciding(one).apply_wishes(NOW_NS, fail) == 1
        assert consents.list_wishes(one) == []
    assert names_in(consented) == [n for n in names_in(folder) if n != name]
    assert send(folder, other) == upload.Tally(sent=1, private=1)


def test_wish_about_another_copy_grants_nothing_and_still_takes_back(
    folder: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    first, second = names_in(folder)
    consents.write_wish(folder, first, Wish(GRANTED, "ab" * 32))
    consents.write_wish(folder, second, Wish(TAKEN_BACK, "ab" * 32))
    open_deciding(folder).apply_wishes(NOW_NS, told.append)
    assert "one that was changed since" in told[0]
    assert len(told) == 1
    assert names_in(folder) == [first]
    assert consents.list_wishes(folder) == []
    assert send(folder, store_at(tmp_path / "store")) == upload.Tally(private=1)


def test_wish_that_is_not_readable_holds_its_episode_and_stays(
    consented: Path, tmp_path: Path
) -> None:
    name = names_in(consented)[0]
    consents.write_wish(consented, name, Wish(GRANTED, digest(consented, name)))
    path = consented / "decisions" / f"{name}.json"
    path.write_bytes(path.read_bytes()[:-3])
    told: list[str] = []
    open_deciding(consented).apply_wishes(NOW_NS, told.append)
    assert len(told) == 1
    tally = send(consented, store_at(tmp_path / "store"))
    assert (tally.sent, len(tally.refused)) == (1, 1)


def digest(folder: Path, name: str) -> str:
    return sha256_bytes((folder / f"{name}.tfrecord").read_bytes())


def fail(text: str) -> None:
    raise AssertionError(text)


@pytest.mark.parametrize(
    ("before", "consent"),
    [
        (None, False),
        (GRANTED, True),
        *(
            pytest.param(*one, marks=pytest.mark.long)
            for one in (
                (None, True),
                (GRANTED, False),
                (REFUSED, False),
                (REFUSED, True),
            )
        ),
    ],
)
@pytest.mark.parametrize("decision", list(Decision))
def test_kill_at_any_write_of_a_decision_leaves_the_old_or_the_new(
    tmp_path: Path, decision: Decision, before: Decision | None, consent: bool
) -> None:
    source = tmp_path / "source"
    simulated_episodes.make(source, 2, consent=consent)
    name = names_in(source)[0]
    if before is not None:
        decide(source, name, before)
    old = before is GRANTED or (before is None and consent)
    new = decision is GRANTED
    for number in range(100):
        cut = tmp_path / f"cut{number}"
        shutil.copytree(source, cut, symlinks=True)
        killed = power_cuts.kill_before_call(
            number, cut, functools.partial(decide, cut, name, decision)
        )
        store = store_at(tmp_path / f"store{number}")
        assert not send(cut, store).refused
        went = "sidecar.json" in files_of(store, name)
        assert went in ({old, new} if killed else {new})
        assert bool(files_of(store, name)) == went
        # The operator says it again, and what has left is asked back.
        decide(cut, name, decision)
        again = store_at(tmp_path / f"again{number}")
        assert not send(cut, again).refused
        assert bool(files_of(again, name)) == new
        if went and not new:
            assert send(cut, store).erasing == 1
        check_whole(cut)
        if not killed:
            break
    else:
        raise AssertionError("it never came to its end")
    assert number >= 3 or (before is decision)


@pytest.mark.parametrize("decision", [REFUSED, TAKEN_BACK])
@pytest.mark.parametrize("kill", [False, True])
def test_no_instant_of_an_upload_sends_what_is_refused_without_asking_it_back(
    tmp_path: Path, decision: Decision, kill: bool
) -> None:
    """The uploader stands still before each of its writes while the operator decides.

    Whether it is killed there or goes on: an episode is whole in the store only if its
    last file had been begun, and whatever reached the store is asked to be erased.
    """
    source = tmp_path / "source"
    simulated_episodes.make(source, 1)
    (name,) = names_in(source)
    sent_whole = stopped = 0
    for number in range(200):
        place = tmp_path / f"at{number}"
        cut, store = place / "out", store_at_new(place)
        shutil.copytree(source, cut, symlinks=True)
        with power_cuts.stand_still_before_call(
            number, place, functools.partial(send, cut, store), kill=kill
        ) as there:
            if there:
                held = files_of(store, name)
                decide(cut, name, decision)
        if not there:
            break
        now = files_of(store, name)
        began_last = "episode.tfrecord" in held
        if "sidecar.json" in now:
            assert began_last
            sent_whole += 1
        else:
            stopped += 1
        tally = send(cut, store)
        assert tally.sent == tally.held == 0
        later = files_of(store, name)
        assert [file for file in later if "consent" not in file] == now
        if now:
            assert "consent-1.json" in later
            assert tally.erasing == 1
        elif not kill:
            assert later == []
    else:
        raise AssertionError("it never came to its end")
    assert stopped > 3
    assert sent_whole > 0


def store_at_new(place: Path) -> LocalStore:
    (place / "store").mkdir(parents=True)
    return LocalStore(place / "store")


def test_kill_of_the_one_who_carries_out_wishes_loses_none(tmp_path: Path) -> None:
    source = tmp_path / "source"
    simulated_episodes.make(source, 2)
    first, second = names_in(source)
    consents.write_wish(source, first, Wish(TAKEN_BACK, digest(source, first)))
    consents.write_wish(source, second, Wish(REFUSED, digest(source, second)))
    for number in range(200):
        cut = tmp_path / f"cut{number}"
        shutil.copytree(source, cut, symlinks=True)
        killed = power_cuts.kill_before_call(number, cut, functools.partial(apply, cut))
        store = store_at(tmp_path / f"store{number}")
        with contextlib.suppress(ContinuonError):
            send(cut, store)
        assert store.list("") == ()
        apply(cut)
        assert names_in(cut) == [second]
        assert consents.list_wishes(cut) == []
        check_whole(cut)
        if not killed:
            return
    raise AssertionError("it never came to its end")


def apply(folder: Path) -> int:
    return open_deciding(folder).apply_wishes(NOW_NS, fail)
