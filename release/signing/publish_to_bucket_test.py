"""A release that the real client published to a bucket can be verified from there."""

from pathlib import Path

from base.store.store import open_store
from base.testing import bucket as local_bucket
from release.signing.publish import publish
from release.testing import tiny_release
from release.verification import verify_channel


def test_a_release_published_to_a_bucket_verifies(tmp_path: Path) -> None:
    with local_bucket.serve():
        check(tmp_path)


def check(tmp_path: Path) -> None:
    store = open_store("gs://bucket/some/prefix")
    release = tiny_release.release(tmp_path)
    tiny_release.write_package(tmp_path / "package")
    release.sign(tmp_path / "package")
    key = release.keys["channel:nightly"]
    done = publish(
        store,
        "nightly",
        tmp_path / "package",
        [key],
        release.trusted,
        tiny_release.NOW,
        tiny_release.EXPIRES,
    )
    raw = store.get(done.envelope_path, 10**6)
    verified = verify_channel(raw, "nightly", release.trusted, tiny_release.NOW, 0)
    assert store.digest(done.tar_path) == verified.entry("pi5-cpu").sha256
    assert done.channel_uri == "gs://bucket/some/prefix/channels/nightly.json"
