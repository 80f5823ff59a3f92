"""Makes an unsigned channel file for existing packages.

    ./bazelw run //release:make_channel -- --channel=stable --release_counter=1 \\
        --tar=PACKAGE.tar --run_id=RUN --expires=$(date -u -d '+30 days' +%FT%TZ) \\
        --blessing=$(sha256sum < PACKAGE/blessing.intoto.jsonl | cut -d' ' -f1) \\
        --output=stable.json

PACKAGE is the signed package's folder, PACKAGE.tar the tar that //release:pack made of
it, and RUN the training run. After the first release, --previous names the channel
file of the previous release.

The rule `channel` runs this as a build action. Nobody accepts the file until the
holders of the channel's keys have signed it with `//release:sign`.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import tempfile
from pathlib import Path

from absl import app, flags

from base import command_line, durable_file, path_flags, plain_file, text_forms
from base.digest import sha256_bytes
from release import channel, package
from release.channel import Channel, ChannelProvenance, PackageEntry, Previous, Rollout
from release.errors import DuplicateNameError
from release.limits import LIMITS
from release.package import PackageManifest
from release.trusted_keys import CHANNELS

_CHANNEL = flags.DEFINE_enum(
    "channel", None, CHANNELS, "name of the channel", required=True
)
_COUNTER = flags.DEFINE_integer(
    "release_counter", None, "release counter", lower_bound=1, required=True
)
_TARS = flags.DEFINE_multi_string(
    "tar", [], "package tar, one per target; may be repeated"
)
_EXPIRES = flags.DEFINE_string(
    "expires", None, "UTC time after which robots no longer accept it", required=True
)
_ISSUED = flags.DEFINE_string(
    "issued", None, "UTC time at which it is made; default: not stated"
)
_PERCENT = flags.DEFINE_integer(
    "rollout_percent", 100, "share of robots that take the release, in percent", 0, 100
)
_SALT = flags.DEFINE_string(
    "rollout_salt", "everyone", "salt of the hash that chooses the robots"
)
_RUNTIME = flags.DEFINE_string(
    "minimum_runtime", "0.1.0", "lowest runtime version that can run it"
)
_PREVIOUS = flags.DEFINE_string(
    "previous", None, "channel file of the previous release; default: there is none"
)
_RUN_ID = flags.DEFINE_string("run_id", None, "training run", required=True)
_BLESSING = flags.DEFINE_string(
    "blessing", None, "sha256 of the package's blessing.intoto.jsonl", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "channel file to write", required=True)


_QUIET = flags.DEFINE_bool("quiet", False, "do not print the digest")
path_flags.files("tar", "previous", "output")


def main(argv: list[str]) -> None:
    """Writes the channel file that the flags describe and prints its digest."""
    if len(argv) > 1 or not _TARS.value:
        raise app.UsageError("name at least one --tar and nothing but flags")
    entries: dict[str, PackageEntry] = {}
    newest: PackageManifest | None = None
    for tar in _TARS.value:
        newest, entry = _read_tar(Path(tar))
        if newest.target in entries:
            raise DuplicateNameError(tar, "one package for each target", newest.target)
        package.check_counter(newest, _COUNTER.value, tar)
        entries[newest.target] = entry
    assert newest is not None  # at least one tar, checked above
    previous = _read_previous()
    channel.check_counter(
        _COUNTER.value, previous.release_counter if previous else 0, _OUTPUT.value
    )
    record = Channel(
        channel=_CHANNEL.value,
        release_counter=_COUNTER.value,
        package=entries,
        rollout=Rollout(_PERCENT.value, _SALT.value),
        minimum_runtime=_RUNTIME.value,
        previous=previous,
        provenance=ChannelProvenance(
            run_id=_RUN_ID.value,
            dataset_manifest_digest=newest.metadata.dataset_manifest_digest,
            commit=newest.metadata.code_commit,
            blessing=_BLESSING.value,
        ),
        expires=text_forms.parse_time(_EXPIRES.value, "--expires"),
        issued=(
            text_forms.parse_time(_ISSUED.value, "--issued") if _ISSUED.value else None
        ),
    )
    raw = record.encode()
    channel.parse(raw, _OUTPUT.value)
    durable_file.write(Path(_OUTPUT.value), raw)
    if not _QUIET.value:
        command_line.say(f"channel  {_OUTPUT.value} (sha256 {record.sha256})")


def _read_tar(tar: Path) -> tuple[PackageManifest, PackageEntry]:
    raw = plain_file.read(tar, LIMITS.package_bytes)
    with tempfile.TemporaryDirectory() as folder:
        unpacked = package.unpack_tar(raw, Path(folder, "package"), len(raw), tar)
        listed = plain_file.read(unpacked / package.MANIFEST, LIMITS.manifest_bytes)
        manifest = package.parse(listed, tar)
    tar_sha256 = sha256_bytes(raw)
    return manifest, PackageEntry(
        path=channel.tar_path(tar_sha256),
        sha256=tar_sha256,
        size_bytes=len(raw),
        digest=manifest.digest,
    )


def _read_previous() -> Previous | None:
    if not _PREVIOUS.value:
        return None
    file = Path(_PREVIOUS.value)
    raw = plain_file.read(file, LIMITS.channel_bytes)
    return Previous(channel.parse(raw, file).release_counter, sha256_bytes(raw))


if __name__ == "__main__":
    command_line.run(main)
