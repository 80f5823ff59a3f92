import pytest

from rlds import raw_layout
from rlds.raw_layout import RawFolder
from rlds.redaction_record import RedactionRecord
from rlds.sidecar import Consent, Safety, Sidecar

_HASH = "a" * 64
_DATE = "2026-01-31"
_ID = "01900000-0000-7000-8000-00000000002a"
_FOLDER = RawFolder(_HASH, _DATE, _ID)
_PATH = f"rlds_v0/robot_hash={_HASH}/date={_DATE}/episode_id={_ID}"


@pytest.mark.parametrize(
    ("path", "file"),
    [
        (_FOLDER.episode, "episode.tfrecord"),
        (_FOLDER.sidecar, "sidecar.json"),
        (_FOLDER.admission, "admission.json"),
        (_FOLDER.consent(1), "consent-1.json"),
        (_FOLDER.consent(120), "consent-120.json"),
    ],
)
def test_path_of_each_file_parses_to_its_folder_and_name(path: str, file: str) -> None:
    assert path == f"{_PATH}/{file}"
    assert raw_layout.parse(path) == (_FOLDER, file)


@pytest.mark.parametrize(
    "path",
    [
        "",
        _FOLDER.path,
        "rlds_v0/readme.txt",
        f"{_FOLDER.path}/extra.bin",
        f"{_FOLDER.path}/deeper/episode.tfrecord",
        f"/{_FOLDER.episode}",
        _FOLDER.episode.replace("rlds_v0", "rlds_v1"),
        _FOLDER.episode.replace("a" * 64, "A" * 64),
        _FOLDER.episode.replace("2026-01-31", "2026-1-31"),
        _FOLDER.episode.replace("-7000-", "-4000-"),
        _FOLDER.episode.replace("episode.tfrecord", "episodeXtfrecord"),
        _FOLDER.episode + "\n",
        f"{_FOLDER.path}/consent-0.json",
        f"{_FOLDER.path}/consent-01.json",
        f"{_FOLDER.path}/consent-1234567890.json",
    ],
)
def test_path_that_is_not_in_the_layout_has_no_folder(path: str) -> None:
    assert raw_layout.parse(path) is None


def test_sidecar_determines_the_folder_of_its_episode() -> None:
    sidecar = Sidecar(
        schema_version="0.1.0",
        episode_id=_ID,
        sha256="0" * 64,
        size_bytes=1,
        num_steps=1,
        robot_hash=_HASH,
        date=_DATE,
        consent=Consent(True, "operator", "2026-01-31T08:00:00Z"),
        safety=Safety(0, False),
        privacy=RedactionRecord("1", {}, (), 0, True),
        package_digest="",
        delta_digest="",
        software="0.1.0",
    )
    assert raw_layout.locate(sidecar) == _FOLDER


def test_folders_sort_by_robot_then_day_then_episode() -> None:
    later = RawFolder(_HASH, "2026-02-01", _ID)
    other = RawFolder("b" * 64, "2025-12-31", _ID)
    assert sorted([other, later, _FOLDER]) == [_FOLDER, later, other]


def test_id_is_claimed_by_one_object_whatever_the_folder_of_its_episode() -> None:
    assert raw_layout.claim_path(_ID) == f"admitted/episode_id={_ID}"
