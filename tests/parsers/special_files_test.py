"""Every reader of a file from outside, given a name that leads to no plain file."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.digest import sha256_file
from base.errors import ContinuonError
from base.store.local_store import LocalStore
from base.testing import special_files
from cloud.curate import spec as curation_spec
from cloud.evaluate import judged_reports
from cloud.ingest import enrolment
from edge import trial_journal
from edge.episodes import robot_key, terms
from edge.ota import health, refusals, start_count, trial
from edge.ota.health import Health
from edge.ota.refusals import Refusals
from edge.ota.state_folder import StateFolder
from edge.robots import machine_name
from release import canary, package_tar, run_summary, trials, verification
from release.signing import sign_statements
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys
from rlds import journal, reader, tfrecord

# Each reads `folder / name` and knows the name that it looks for.
_READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "digest": ("it", sha256_file),
    "store": ("it", lambda path: LocalStore(path.parent).get("it", 10)),
    "range of an object": (
        "it",
        lambda path: LocalStore(path.parent).get_range("it", 0, 10),
    ),
    "channel": (
        "it",
        lambda path: LocalStore(path.parent).get("it", 256 * 1024),
    ),
    "episode": ("it", reader.read_episode),
    "records": ("it", lambda path: list(tfrecord.read_records(path, 100))),
    "journal": ("it", journal.read),
    "terms": ("it.terms.json", lambda path: terms.read(path.parent, "it")),
    "keyring": ("it", lambda path: TrustedKeys.read(path, allow_development=True)),
    "robot key": ("it", robot_key.load_or_create),
    "private key": ("it", PrivateKey.read),
    "enrolment": ("it", lambda path: enrolment.read([path])),
    "curation spec": ("it", curation_spec.read),
    "record of trials": ("it", trials.read),
    "journal of trials": ("it", trial_journal.read),
    "reports to bless by": ("it", lambda path: judged_reports.read([path])),
    "canary.json": ("it", canary.read),
    "summary of a run": ("it", run_summary.read),
    "progress of a run": ("it", run_summary.read_progress),
    "pointer to a package": (
        "current",
        lambda path: StateFolder(path.parent).read_installed(),
    ),
    "package.json": (
        "package.json",
        lambda path: verification.verify_integrity(path.parent),
    ),
    "package to pack": ("it", lambda path: package_tar.pack_tar(path.parent)),
}


@pytest.mark.parametrize("kind", special_files.KINDS)
@pytest.mark.parametrize("reading", _READERS)
def test_a_reader_refuses_it_at_once(tmp_path: Path, reading: str, kind: str) -> None:
    name, read = _READERS[reading]
    special_files.make(tmp_path / name, kind)
    with special_files.at_once(), pytest.raises((ContinuonError, OSError)):
        read(tmp_path / name)


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_an_envelope_to_add_a_signature_to_is_none(tmp_path: Path, kind: str) -> None:
    special_files.make(tmp_path / "it", kind)
    with special_files.at_once():
        try:
            assert sign_statements.read_envelope(tmp_path / "it") is None
        except OSError as e:
            assert e.filename


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_what_a_robot_noted_about_packages_is_lost_with_it(
    tmp_path: Path, kind: str
) -> None:
    for name in (refusals.FILE, start_count.FILE, health.FILE, trial.FILE):
        special_files.make(tmp_path / name, kind)
    with special_files.at_once():
        assert Refusals(tmp_path, "0" * 64, datetime.now(UTC))._read() == ()
        assert start_count.read(tmp_path, "0" * 64) == 0
        assert health.read(tmp_path, "0" * 64) == Health("0" * 64)
        assert not trial.is_on_trial(tmp_path, "0" * 64)
        assert trial.read_or_set_aside(tmp_path) is None


@pytest.mark.parametrize("kind", special_files.KINDS)
def test_a_machine_name_is_not_read_from_it(tmp_path: Path, kind: str) -> None:
    special_files.make(tmp_path / "it", kind)
    with special_files.at_once():
        assert machine_name._read_id(tmp_path / "it") is None
