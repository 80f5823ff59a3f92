"""The channel file: which package each target runs now, and when the file expires.

`channels/<name>.dsse.json` is the signed envelope and the only file that robots read;
`channels/<name>.json` holds the same payload for people.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from base import canonical_json, text_forms
from base.digest import sha256_bytes
from base.errors import MalformedError
from base.json_fields import Fields, Source, decode_canonical
from base.text_forms import check_relative_path
from release.errors import CounterStepError
from release.limits import LIMITS
from release.package import TARGETS
from release.trusted_keys import CHANNELS

SCHEMA_VERSION = 1
PAYLOAD_TYPE = "application/vnd.continuon.channel+json"
FOLDER = "channels"
LARGEST_COUNTER_STEP = 1_000_000
"""How far a release counter may be above the last one.

Whoever steals a channel's key can use up counters, but not all of them at once: a robot
that asks every minute would have to be misled for 17,000 years until it reached the
last counter, 2^53 - 1. A robot that was switched off still takes the current release
if there was one a minute for less than two years.
"""
LARGEST_FIRST_COUNTER = 1_000 * LARGEST_COUNTER_STEP
"""How high the first counter may be that a robot sees.

A new robot must be able to follow a channel whose counters a thief used up, a step at
a time, and that was given back to its owner above them.
"""
_KEYS = (
    "schema_version",
    "channel",
    "release_counter",
    "package",
    "rollout",
    "minimum_runtime",
    "previous",
    "provenance",
    "expires",
)
_OPTIONAL_KEYS = ("issued",)  # channels of the first publishers do not state it
# Python refuses to read a number of more than 4,300 digits; no version needs seven.
_VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}", re.ASCII)


@dataclass(frozen=True)
class PackageEntry:
    """The package of one target: its path in the store, and what it must contain.

    Attributes:
        path: path of the package tar in the store.
        sha256: digest of the tar.
        size_bytes: size of the tar; a robot does not read beyond it.
        digest: package digest, the sha256 of the package.json in the tar.
    """

    path: str
    sha256: str
    size_bytes: int
    digest: str


@dataclass(frozen=True)
class Rollout:
    """Share of robots that take the release, chosen by a salted hash."""

    percent: int
    salt: str

    def __post_init__(self) -> None:
        if not 0 <= self.percent <= 100:
            raise ValueError(f"expected a percent of 0 to 100, got {self.percent}")


@dataclass(frozen=True)
class Previous:
    """The previous release: its counter and the sha256 of its channel file."""

    release_counter: int
    sha256: str


@dataclass(frozen=True)
class ChannelProvenance:
    """Where the newest package of the channel comes from.

    Attributes:
        run_id: the training run.
        dataset_manifest_digest: sha256 of the dataset's manifest.
        commit: commit of the training code.
        blessing: sha256 of the blessing statement's envelope.
    """

    run_id: str
    dataset_manifest_digest: str
    commit: str
    blessing: str


@dataclass(frozen=True)
class Channel:
    """The content of a channel file, not yet trusted.

    Attributes:
        channel: name, from `CHANNELS`.
        release_counter: grows with each release of this channel.
        package: the package of each target.
        rollout: the robots that take the release.
        minimum_runtime: lowest version of the robot's runtime that can run it.
        previous: the previous release, or None for the first.
        provenance: where the newest package comes from.
        expires: time after which robots no longer accept the file.
        issued: time when it was made; None if its publisher did not state it.
    """

    channel: str
    release_counter: int
    package: Mapping[str, PackageEntry]
    rollout: Rollout
    minimum_runtime: str
    previous: Previous | None
    provenance: ChannelProvenance
    expires: datetime
    issued: datetime | None = None

    def encode(self) -> bytes:
        """Returns the canonical bytes of the channel file."""
        previous = self.previous
        value: dict[str, object] = {
            "schema_version": SCHEMA_VERSION,
            "channel": self.channel,
            "release_counter": self.release_counter,
            "package": {
                target: {
                    "path": entry.path,
                    "sha256": entry.sha256,
                    "size_bytes": entry.size_bytes,
                    "digest": entry.digest,
                }
                for target, entry in self.package.items()
            },
            "rollout": {"percent": self.rollout.percent, "salt": self.rollout.salt},
            "minimum_runtime": self.minimum_runtime,
            "previous": previous
            and {
                "release_counter": previous.release_counter,
                "sha256": previous.sha256,
            },
            "provenance": {
                "run_id": self.provenance.run_id,
                "dataset_manifest": self.provenance.dataset_manifest_digest,
                "commit": self.provenance.commit,
                "blessing": self.provenance.blessing,
            },
            "expires": text_forms.format_time(self.expires),
        }
        if self.issued is not None:
            value["issued"] = text_forms.format_time(self.issued)
        return canonical_json.encode(value)

    @property
    def sha256(self) -> str:
        """Digest of the channel file."""
        return sha256_bytes(self.encode())


def plain_path(channel: str) -> str:
    """Returns the path of the channel file for people in a store."""
    return f"{FOLDER}/{channel}.json"


def envelope_path(channel: str) -> str:
    """Returns the path of the signed channel in a store."""
    return f"{FOLDER}/{channel}.dsse.json"


def tar_path(tar_sha256: str) -> str:
    """Returns the path of a package tar in a store; the name is its digest."""
    return f"packages/{tar_sha256}.tar"


def split_uri(uri: str) -> tuple[str, str]:
    """Splits `<store>/channels/<name>.json` into the store's URI and the channel name.

    The name of the signed envelope, `<name>.dsse.json`, is accepted as well.

    Raises:
        MalformedError: the URI has another form, or the channel does not exist.
    """
    head, _, file = uri.rpartition("/")
    store, _, folder = head.rpartition("/")
    name = file.removesuffix(".json").removesuffix(".dsse")
    if folder != FOLDER or name not in CHANNELS or not file.endswith(".json"):
        raise MalformedError(
            uri,
            "STORE/channels/NAME.json, where NAME is one of " + ", ".join(CHANNELS),
            uri,
            "correct the location of the channel",
        )
    return store, name


def check_counter(counter: int, last: int, source: Source) -> None:
    """Checks that a release counter is not too far above the last one.

    Args:
        counter: the counter of the new release.
        last: the counter of the last one; 0 if there was none.
        source: the name used in errors.

    Raises:
        CounterStepError: it is further above `last` than `LARGEST_COUNTER_STEP`, or
            the first and above `LARGEST_FIRST_COUNTER`.
    """
    bound = LARGEST_COUNTER_STEP if last else LARGEST_FIRST_COUNTER
    if counter - last > bound:
        raise CounterStepError(
            source,
            f"a release counter of at most {bound:,} above {last}",
            counter,
        )


def parse(raw: bytes, source: Source = "channel") -> Channel:
    """Reads the bytes of a channel file without checking who wrote them.

    Raises:
        OversizedError: `raw` is longer than a channel may be.
        MalformedError: `raw` is not canonical JSON, or a field is missing, unknown or
            wrong.
        UnsafePathError: a package path leads out of the store.
    """
    fields = Fields(
        decode_canonical(raw, source, LIMITS.channel_bytes),
        source,
        _KEYS,
        optional=_OPTIONAL_KEYS,
    )
    fields.version(SCHEMA_VERSION)
    rollout = fields.fields("rollout", ("percent", "salt"))
    if rollout.integer("percent") > 100:
        raise rollout.fail("percent", "to be at most 100")
    origin_keys = ("run_id", "dataset_manifest", "commit", "blessing")
    origin = fields.fields("provenance", origin_keys)
    if _VERSION.fullmatch(fields.text("minimum_runtime")) is None:
        raise fields.fail("minimum_runtime", "to be a version such as 0.3.0")
    issued = None
    if fields.has("issued"):
        issued = text_forms.parse_time(fields.text("issued"), source)
    return Channel(
        channel=fields.one_of("channel", CHANNELS),
        release_counter=fields.integer("release_counter", minimum=1),
        package=_parse_packages(fields, source),
        rollout=Rollout(rollout.integer("percent"), rollout.text("salt")),
        minimum_runtime=fields.text("minimum_runtime"),
        previous=_parse_previous(fields),
        provenance=ChannelProvenance(
            run_id=origin.text("run_id"),
            dataset_manifest_digest=origin.sha256("dataset_manifest"),
            commit=origin.text("commit"),
            blessing=origin.sha256("blessing"),
        ),
        expires=text_forms.parse_time(fields.text("expires"), source),
        issued=issued,
    )


def _parse_packages(fields: Fields, source: Source) -> dict[str, PackageEntry]:
    named = fields.named("package", ("path", "sha256", "size_bytes", "digest"))
    if not named or not set(named) <= set(TARGETS):
        raise fields.fail("package", "to name targets of " + ", ".join(TARGETS))
    packages = {}
    for target, entry in named.items():
        size_bytes = entry.integer("size_bytes", minimum=1)
        if size_bytes > LIMITS.package_bytes:
            raise entry.fail("size_bytes", f"to be at most {LIMITS.package_bytes}")
        packages[target] = PackageEntry(
            path=check_relative_path(entry.text("path"), source),
            sha256=entry.sha256("sha256"),
            size_bytes=size_bytes,
            digest=entry.sha256("digest"),
        )
    return packages


def _parse_previous(fields: Fields) -> Previous | None:
    if not fields.has("previous"):
        return None
    previous = fields.fields("previous", ("release_counter", "sha256"))
    return Previous(
        previous.integer("release_counter", minimum=1), previous.sha256("sha256")
    )
