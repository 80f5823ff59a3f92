from pathlib import Path
from typing import cast

import pytest

from base.store.store import LocalStore, Store
from cloud.errors import RawRootError
from cloud.ingest import raw_store
from rlds.raw_layout import RawFolder

_FOLDER = RawFolder("a" * 64, "2026-01-31", "01900000-0000-7000-8000-00000000002a")


def test_paths_of_one_folder_are_grouped_in_any_order() -> None:
    files = [_FOLDER.sidecar, _FOLDER.admission, _FOLDER.episode]
    listing = raw_store.group_by_folder(files)
    assert listing.folders == (
        (_FOLDER, frozenset({"sidecar.json", "admission.json", "episode.tfrecord"})),
    )
    assert listing.strangers == ()


class EmptyBucket:
    """A bucket that lists no objects."""

    uri = "gs://bucket/typo"

    def list(self, prefix: str) -> tuple[str, ...]:
        del prefix
        return ()


def test_objects_below_the_raw_root_are_listed(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put(_FOLDER.sidecar, b"{}")
    listing = raw_store.read(store)
    assert listing == raw_store.group_by_folder([_FOLDER.sidecar])


def test_a_folder_without_raw_episodes_is_refused_and_not_taken_for_empty(
    tmp_path: Path,
) -> None:
    absent = tmp_path / "typo"
    (tmp_path / "other" / "rlds_v1").mkdir(parents=True)
    (tmp_path / "other" / "rlds_v1" / "file").touch()
    for folder in (absent, tmp_path / "other"):
        with pytest.raises(RawRootError, match=r"expected .* below rlds_v0/") as e:
            raw_store.read(LocalStore(folder))
        assert str(e.value).startswith(folder.as_uri())
    assert not absent.exists()
    with pytest.raises(RawRootError, match="gs://bucket/typo: expected raw episodes"):
        raw_store.read(cast(Store, EmptyBucket()))


@pytest.mark.parametrize(
    "stranger", ["rlds_v0/readme.txt", f"{_FOLDER.path}/extra.bin"]
)
def test_objects_outside_of_the_layout_are_listed_as_strangers(stranger: str) -> None:
    listing = raw_store.group_by_folder([_FOLDER.episode, stranger])
    assert listing.strangers == (stranger,)
    assert [folder for folder, _ in listing.folders] == [_FOLDER]
