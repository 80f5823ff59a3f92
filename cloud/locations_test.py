"""Locations as flags give them, as people read them and as others may see them."""

import pytest

from cloud import locations


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        (
            "gs://continuon-datasets/reach/v1.0.0",
            "gs://continuon-datasets/reach/v1.0.0",
        ),
        ("file:///home/ada/reach/v1.0.0", "urn:continuon:dataset:reach:1.0.0"),
        ("file://localhost/srv/x", "urn:continuon:dataset:reach:1.0.0"),
    ],
)
def test_path_of_this_machine_is_not_published(uri: str, public: str) -> None:
    assert locations.public_uri(uri, "dataset:reach:1.0.0") == public


def test_folder_of_this_machine_is_shown_as_its_path() -> None:
    assert locations.format_location(locations.to_uri("/srv/a b/")) == "/srv/a b"
    assert locations.format_location("gs://bucket/x") == "gs://bucket/x"
