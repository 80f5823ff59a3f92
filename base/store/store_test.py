from pathlib import Path

import pytest

from base.errors import StoreError
from base.store.store import open_store


def test_a_file_uri_opens_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "with space"
    folder.mkdir()
    store = open_store(folder.as_uri())
    store.put("a", b"1")
    assert (folder / "a").read_bytes() == b"1"
    assert store.uri == folder.as_uri()


@pytest.mark.parametrize(
    "uri",
    ["", "/plain/path", "http://host/x", "file://host/x", "file:x", "gs://", "gs:x"],
)
def test_unsupported_uri_is_refused_with_the_accepted_form(uri: str) -> None:
    with pytest.raises(StoreError, match="expected"):
        open_store(uri)


def test_uri_with_a_query_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="without"):
        open_store(tmp_path.as_uri() + "?x=1")
