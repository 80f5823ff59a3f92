"""A location is given as a path or as a URI, and becomes a URI."""

from pathlib import Path

import pytest

from base.errors import StoreError
from base.store.location import to_uri
from base.store.store import open_store


@pytest.mark.parametrize(
    ("location", "uri"),
    [
        ("gs://bucket/prefix", "gs://bucket/prefix"),
        ("gs://bucket/prefix/", "gs://bucket/prefix"),
        ("gs://bucket/", "gs://bucket"),
        ("file:///a%20b/", "file:///a%20b"),
        ("file:///", "file:///"),
        ("/srv/a b/", "file:///srv/a%20b"),
        ("/", "file:///"),
    ],
)
def test_root_is_kept_as_it_is_given(location: str, uri: str) -> None:
    assert to_uri(location) == uri


def test_path_is_that_of_the_folder_and_of_the_home_in_which_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert to_uri("raw") == (tmp_path / "raw").as_uri()
    assert to_uri(Path("raw")) == (tmp_path / "raw").as_uri()
    assert to_uri("~/raw") == "file:///home/ada/raw"


def test_home_of_nobody_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreError, match=r"a path or a URI, got .*; correct the path"):
        to_uri("~nobody-of-this-name/raw")


@pytest.mark.parametrize("location", ["gs:/bucket/raw", "file:/srv/raw"])
def test_uri_with_a_slash_too_few_is_no_folder_of_that_name(location: str) -> None:
    with pytest.raises(
        StoreError, match=r"a path or a URI, got .*; write file:///FOLD"
    ):
        to_uri(location)
    assert to_uri(f"./{location}").startswith("file:///")


@pytest.mark.parametrize("name", ["a b", "100%", "a#b", "a?b", "ü"])
def test_store_at_a_path_is_the_folder_of_that_name(tmp_path: Path, name: str) -> None:
    open_store(to_uri(tmp_path / name)).put("object", b"x")
    assert (tmp_path / name / "object").read_bytes() == b"x"
