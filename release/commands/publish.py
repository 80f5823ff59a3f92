"""Publishes a blessed package on a channel.

    ./bazelw run //release:publish -- --store=STORE --channel=nightly \\
        --package=DIR --key_file=KEY --keyring=KEYRING
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime, timedelta
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags, plain_file
from base.store.location import to_uri
from base.store.store import Store, open_store
from release import channel, channel_verification, package, verification
from release.channel import Rollout
from release.limits import LIMITS
from release.signing import publish
from release.signing.private_keys import PrivateKey
from release.trusted_keys import CHANNELS, NAME_KEYRING, TrustedKeys

DEFAULT_EXPIRES_DAYS = 30.0

_STORE = flags.DEFINE_string(
    "store",
    None,
    "store to publish to: a folder, file:///FOLDER or gs://BUCKET/PREFIX",
    required=True,
)
_CHANNEL = flags.DEFINE_enum(
    "channel", None, CHANNELS, "channel to move", required=True
)
_PACKAGE = flags.DEFINE_string(
    "package", None, "folder of the blessed package", required=True
)
_KEY_FILES = flags.DEFINE_multi_string(
    "key_file", [], "private key file, mode 0600; repeat it for a threshold role"
)
_KEYRING = flags.DEFINE_string(
    "keyring", None, "keyring file that the robots use", required=True
)
_ENVELOPE = flags.DEFINE_string(
    "channel_envelope",
    None,
    "publish this envelope, signed with //release:sign, instead of signing here; "
    "needs no --key_file",
)
_ALLOW_DEVELOPMENT = flags.DEFINE_bool(
    "allow_development_keys", False, "let development keys of the keyring count"
)
_EXPIRES_DAYS = flags.DEFINE_float(
    "expires_days",
    DEFAULT_EXPIRES_DAYS,
    "days until robots no longer accept the channel",
    lower_bound=0.0,
    upper_bound=float(channel_verification.LONGEST_CHANNEL_LIFE.days),
)
_PERCENT = flags.DEFINE_integer(
    "rollout_percent",
    publish.DEFAULT_ROLLOUT.percent,
    "share of robots that take the release, in percent",
    lower_bound=0,
    upper_bound=100,
)
_SALT = flags.DEFINE_string(
    "rollout_salt",
    publish.DEFAULT_ROLLOUT.salt,
    "salt of the hash that chooses the robots",
)
_RUNTIME = flags.DEFINE_string(
    "minimum_runtime",
    publish.DEFAULT_MINIMUM_RUNTIME,
    "lowest version of the robot's runtime that can run it, such as 0.3.0",
)
_COUNTER = flags.DEFINE_integer(
    "release_counter", None, "release counter; default: the next one", lower_bound=1
)
path_flags.folders("store", "package")
path_flags.files("key_file", "keyring", "channel_envelope")


def main(argv: list[str]) -> None:
    """Publishes what the flags name and prints its URIs."""
    if len(argv) > 1 or bool(_KEY_FILES.value) == bool(_ENVELOPE.value):
        raise app.UsageError("name either --key_file or --channel_envelope")
    store = open_store(to_uri(_STORE.value))
    with path_flags.about("keyring", "a keyring", NAME_KEYRING):
        trusted = TrustedKeys.read(Path(_KEYRING.value), _ALLOW_DEVELOPMENT.value)
    now = datetime.now(UTC)
    folder = Path(_PACKAGE.value)
    if _ENVELOPE.value:
        _publish_signed(store, trusted, folder, Path(_ENVELOPE.value), now)
        return
    done = publish.publish(
        store,
        _CHANNEL.value,
        folder,
        [PrivateKey.read(Path(path)) for path in _KEY_FILES.value],
        trusted,
        now,
        now + timedelta(days=_EXPIRES_DAYS.value),
        Rollout(_PERCENT.value, _SALT.value),
        _RUNTIME.value,
        _COUNTER.value,
    )
    command_line.say(f"package  {store.uri}/{done.tar_path}")
    command_line.say(f"digest   {done.digest}")
    command_line.say(f"channel  {done.channel_uri} (release {done.release_counter})")


def _publish_signed(
    store: Store, trusted: TrustedKeys, folder: Path, file: Path, now: datetime
) -> None:
    package_ = verification.verify_package(folder, trusted, now, None, None)
    envelope = plain_file.read(file, LIMITS.channel_bytes)
    signed = channel_verification.verify_channel_signatures(
        envelope, _CHANNEL.value, trusted
    )
    package.check_counter(package_.manifest, signed.release_counter, file)
    tars = {package_.manifest.target: package.pack_tar(folder)}
    done = publish.publish_envelope(store, _CHANNEL.value, envelope, tars, trusted, now)
    uri = f"{store.uri}/{channel.plain_path(_CHANNEL.value)}"
    command_line.say(f"digest   {package_.digest}")
    command_line.say(f"channel  {uri} (release {done.release_counter})")


if __name__ == "__main__":
    command_line.run(main)
