"""The real command follows a channel in a local bucket."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.store import gcs_store  # noqa: F401 - heavy, and each run is a fork
from base.testing import bucket as local_bucket
from base.testing.bucket import Bucket
from edge.ota import fetch
from edge.testing import processes, tampering, tiny_package
from edge.testing.tiny_package import Publisher
from rlds import example_codec, tfrecord

PREFIX = "artifacts/"
STORE = f"gs://{local_bucket.NAME}/artifacts"


@pytest.fixture
def bucket() -> Iterator[Bucket]:
    with local_bucket.serve() as bucket:
        yield bucket


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    publisher = Publisher(tmp_path)
    publisher.release(0, now=datetime.now(UTC))
    return publisher


@pytest.fixture
def flags(tmp_path: Path, publisher: Publisher) -> list[str]:
    episode = tmp_path / "episode.tfrecord"
    recorded = tiny_package.episode(seed=5, steps=6)
    episode.write_bytes(tfrecord.frame(example_codec.encode(recorded)))
    return [
        f"--channel={STORE}/channels/{tiny_package.CHANNEL}.json",
        f"--keyring={publisher.keyring()}",
        f"--state_dir={tmp_path / 'state'}",
        f"--robot=replay:{episode}",
        "--pace=simulated",
    ]


def tar_name(publisher: Publisher) -> str:
    """Name of the offered package's tar in the bucket."""
    return PREFIX + tampering.record(publisher).package["pi5-cpu"].path


def read_state(state: Path) -> dict[str, bytes]:
    """Every file of a state folder except its lock."""
    return {
        name: raw for name, raw in processes.read_tree(state).items() if name != ".lock"
    }


def check_refused(state: Path, match: str, flags: list[str]) -> None:
    """The command failed in one line and left the state folder as it was."""
    before = read_state(state)
    done = processes.run_forked("edge.run", *flags)
    assert done.returncode == 1, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("run: gs://")
    assert match in line
    assert read_state(state) == before


def test_channel_in_a_bucket_is_followed(
    bucket: Bucket, publisher: Publisher, flags: list[str], tmp_path: Path
) -> None:
    bucket.put_tree(publisher.root, PREFIX)
    first = processes.run_forked("edge.run", *flags)
    assert first.returncode == 0, first.stderr
    assert "release 1: installed" in first.stderr
    assert "step latency" in first.stdout

    second = publisher.release(1, now=datetime.now(UTC))
    bucket.put_tree(publisher.root, PREFIX)
    then = processes.run_forked("edge.run", *flags)
    assert (
        f"package {second[:12]} of channel nightly, release 2: installed" in then.stderr
    )
    bucket.sent_bytes = 0
    again = processes.run_forked("edge.run", *flags)
    assert "release 2: kept" in again.stderr
    envelope = f"{PREFIX}channels/{tiny_package.CHANNEL}.dsse.json"
    assert bucket.sent_bytes == len(bucket.objects[envelope][1])


def test_download_ends_at_the_signed_size(
    bucket: Bucket, publisher: Publisher, flags: list[str]
) -> None:
    bucket.put_tree(publisher.root, PREFIX)
    raw = (publisher.root / tar_name(publisher).removeprefix(PREFIX)).read_bytes()
    bucket.put(tar_name(publisher), raw + bytes(8 << 20))
    done = processes.run_forked("edge.run", *flags)
    assert done.returncode == 0, done.stderr
    assert len(raw) < bucket.sent_bytes < len(raw) + 10_000


def test_changed_package_is_refused_and_the_active_one_stays(
    bucket: Bucket, publisher: Publisher, flags: list[str], tmp_path: Path
) -> None:
    bucket.put_tree(publisher.root, PREFIX)
    assert processes.run_forked("edge.run", *flags).returncode == 0
    publisher.release(1, now=datetime.now(UTC))
    bucket.put_tree(publisher.root, PREFIX)
    raw = bytearray(bucket.objects[tar_name(publisher)][1])
    raw[len(raw) // 2] ^= 1
    bucket.put(tar_name(publisher), bytes(raw))
    check_refused(tmp_path / "state", "expected sha256", flags)
    bucket.put(tar_name(publisher), bytes(raw[:-700]))
    check_refused(tmp_path / "state", f"expected {len(raw)} bytes", flags)
    assert processes.run_forked("edge.run", "--offline", *flags[1:]).returncode == 0


def test_server_that_spreads_its_delay_over_many_calls_does_not_hold_a_robot(
    bucket: Bucket, publisher: Publisher, flags: list[str]
) -> None:
    """Each answer is in time. The four that an update needs are not."""
    bucket.put_tree(publisher.root, PREFIX)
    assert processes.run_forked("edge.run", *flags).returncode == 0
    publisher.release(1, now=datetime.now(UTC))
    bucket.put_tree(publisher.root, PREFIX)
    bucket.delay_s = 0.9
    done = processes.run_forked(
        "edge.run",
        *flags,
        "--offline_if_update_fails",
        before=lambda: setattr(fetch, "_ALLOWANCE_S", 2.0),
    )
    assert done.returncode == 0, done.stderr
    why, what, package = done.stderr.splitlines()
    assert why.startswith(f"run: {STORE}/")
    assert "got a store that had not finished" in why
    assert what == "run: the update failed; running what is installed"
    assert package.endswith("of channel nightly, release 1: kept")
    bucket.delay_s = 0.0
    assert "release 2: installed" in processes.run_forked("edge.run", *flags).stderr


def test_missing_channel_and_missing_bucket_are_reported_in_one_line(
    bucket: Bucket, publisher: Publisher, flags: list[str], tmp_path: Path
) -> None:
    check_refused(
        tmp_path / "state", f"No such object: bucket/{PREFIX}channels/", flags
    )
    flags[0] = "--channel=gs://nosuch/channels/nightly.json"
    check_refused(tmp_path / "state", "The specified bucket does not exist.", flags)


def test_missing_credentials_are_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    publisher: Publisher,
    flags: list[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "nobody"))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    # Whether this is a machine of Google's is asked for three seconds.
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    check_refused(
        tmp_path / "state", "key file in GOOGLE_APPLICATION_CREDENTIALS", flags
    )
