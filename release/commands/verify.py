"""Verifies a package folder or a channel and prints a summary.

    ./bazelw run //release:verify -- --package=DIR --keyring=KEYRING --target=pi5-cpu
    ./bazelw run //release:verify -- --package=DIR --integrity_only
    ./bazelw run //release:verify -- --channel=STORE/channels/nightly.json \\
        --keyring=KEYRING
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from datetime import UTC, datetime
from pathlib import Path

from absl import app, flags

from base import command_line, path_flags, text_forms
from base.store.location import to_uri
from base.store.store import open_store
from release import channel, channel_verification, verification
from release.limits import LIMITS
from release.package import TARGETS, PackageManifest
from release.trusted_keys import NAME_KEYRING, TrustedKeys

_PACKAGE = flags.DEFINE_string("package", None, "package folder to verify")
_CHANNEL = flags.DEFINE_string(
    "channel",
    None,
    "channel to verify: STORE/channels/NAME.json, where STORE is a folder, "
    "file:///FOLDER or gs://BUCKET/PREFIX",
)
_KEYRING = flags.DEFINE_string("keyring", None, "keyring file to trust")
_TARGET = flags.DEFINE_enum(
    "target", None, TARGETS, "export target that the package must have; default: any"
)
_DIGEST = flags.DEFINE_string(
    "digest", None, "package digest that the package must have; default: any"
)
_LAST_COUNTER = flags.DEFINE_integer(
    "last_counter", 0, "highest release counter accepted so far", lower_bound=0
)
_INTEGRITY_ONLY = flags.DEFINE_bool(
    "integrity_only", False, "check files and digests but no signatures"
)
_ALLOW_DEVELOPMENT = flags.DEFINE_bool(
    "allow_development_keys", False, "let development keys of the keyring count"
)
path_flags.folders("package")
path_flags.files("channel", "keyring")


def main(argv: list[str]) -> None:
    """Verifies what the flags name and prints a summary, or fails with the reason."""
    if len(argv) > 1 or bool(_PACKAGE.value) == bool(_CHANNEL.value):
        raise app.UsageError("name either --package or --channel")
    if _INTEGRITY_ONLY.value:
        if not _PACKAGE.value:
            raise app.UsageError("--integrity_only needs --package")
        intact = verification.verify_integrity(Path(_PACKAGE.value), _TARGET.value)
        _print_package(intact.manifest)
        return
    if not _KEYRING.value:
        raise app.UsageError("--keyring is required, or --integrity_only")
    with path_flags.about("keyring", "a keyring", NAME_KEYRING):
        keys = TrustedKeys.read(Path(_KEYRING.value), _ALLOW_DEVELOPMENT.value)
    now = datetime.now(UTC)
    if _CHANNEL.value:
        _print_channel(_CHANNEL.value, keys, now)
    elif _PACKAGE.value:
        verified = verification.verify_package(
            Path(_PACKAGE.value), keys, now, _TARGET.value, _DIGEST.value
        )
        _print_package(verified.manifest)
        command_line.say(f"run      {verified.provenance.run_id}")
        command_line.say(f"verdict  {verified.blessing.verdict}")
        command_line.say(f"evidence {', '.join(verified.blessing.evidence)}")


def _print_package(manifest: PackageManifest) -> None:
    command_line.say(f"package  {manifest.family} {manifest.version}")
    command_line.say(f"digest   {manifest.digest}")
    command_line.say(f"target   {manifest.target}")
    command_line.say(f"files    {len(manifest.files)}, {manifest.size_bytes} bytes")


def _print_channel(uri: str, keys: TrustedKeys, now: datetime) -> None:
    with path_flags.about("channel", "a channel", "correct its location"):
        store_uri, name = channel.split_uri(to_uri(uri))
    raw = open_store(store_uri).get(channel.envelope_path(name), LIMITS.channel_bytes)
    verified = channel_verification.verify_channel(
        raw, name, keys, now, _LAST_COUNTER.value
    )
    command_line.say(f"channel  {name}, release {verified.release_counter}")
    command_line.say(f"expires  {text_forms.format_time(verified.record.expires)}")
    for target, entry in sorted(verified.record.package.items()):
        command_line.say(f"{target}  {entry.digest}")


if __name__ == "__main__":
    command_line.run(main)
