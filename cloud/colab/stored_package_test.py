"""Tests that the package in the store is verified, in a folder and in a bucket."""

from pathlib import Path

import pytest

from base.testing import bucket as local_bucket
from cloud.colab import stored_package
from release.errors import DigestMismatchError, MissingFileError
from release.testing import tiny_release

# The bucket's client warns if gRPC is installed, which it does not use here.
pytestmark = pytest.mark.filterwarnings("ignore:Please install grpcio-status")

WEIGHTS = "run-1/export/weights.safetensors"
URI = f"gs://{local_bucket.NAME}/run-1/export"


class Made:
    """A signed package on this machine, and how a notebook verifies it."""

    def __init__(self, root: Path, verdict: str = "blessed") -> None:
        self.release = tiny_release.release(root)
        self.folder = root / "package"
        self.digest = tiny_release.write_package(self.folder)
        self.release.sign(self.folder, verdict)

    def verify(self, uri: str) -> dict[str, str]:
        return stored_package.verify(
            uri,
            self.release.trusted,
            tiny_release.NOW,
            tiny_release.TARGET,
            self.digest,
        )


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_package_in_a_folder_is_verified_in_place(made: Made) -> None:
    found = made.verify(made.folder.as_uri())
    assert found["verified"] == "digests, provenance and blessing"
    assert (found["digest"], found["run"]) == (made.digest, "run-1")


def test_package_in_a_bucket_is_verified_from_the_bucket(made: Made) -> None:
    with local_bucket.serve() as bucket:
        bucket.put_tree(made.folder, "run-1/export/")
        assert made.verify(URI) == made.verify(made.folder.as_uri())


def test_damage_in_the_bucket_is_found_although_the_folder_is_whole(made: Made) -> None:
    with local_bucket.serve() as bucket:
        bucket.put_tree(made.folder, "run-1/export/")
        bucket.put(WEIGHTS, b"WEIGHTS")
        with pytest.raises(DigestMismatchError, match=r"weights\.safetensors") as e:
            made.verify(URI)
        assert e.value.__notes__[0].endswith(f"was the copy of {URI}")
        del bucket.objects[WEIGHTS]
        with pytest.raises(MissingFileError, match=r"weights\.safetensors"):
            made.verify(URI)


def test_bucket_without_the_package_is_an_error(made: Made) -> None:
    with (
        local_bucket.serve(),
        pytest.raises(MissingFileError, match=r"package\.json"),
    ):
        made.verify(URI)


def test_refused_package_has_its_digests_checked_and_the_refusal_stated(
    tmp_path: Path,
) -> None:
    made = Made(tmp_path, "refused")
    found = made.verify(made.folder.as_uri())
    assert found == {
        "digest": made.digest,
        "verified": "digests only, a robot refuses it: got refused: mean success 0.98"
        " reaches 0.95",
    }
