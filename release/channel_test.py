import ast
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base import canonical_json
from base.errors import ContinuonError, MalformedError, OversizedError
from release import channel
from release.channel import (
    Channel,
    ChannelProvenance,
    PackageEntry,
    Previous,
    Rollout,
)
from release.package import TARGETS
from release.testing import tiny_release
from release.trusted_keys import CHANNELS

RECORD = Channel(
    channel="stable",
    release_counter=42,
    package={"pi5-cpu": PackageEntry("packages/x.tar", "a" * 64, 10, "b" * 64)},
    rollout=Rollout(25, "salt"),
    minimum_runtime="0.3.0",
    previous=Previous(41, "c" * 64),
    provenance=ChannelProvenance("run", "d" * 64, "commit", "e" * 64),
    expires=tiny_release.EXPIRES,
)


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(RECORD.encode())
    change(value)
    return canonical_json.encode(value)


@pytest.mark.parametrize("previous", [None, Previous(41, "c" * 64)])
@pytest.mark.parametrize("issued", [None, tiny_release.NOW])
def test_a_channel_survives_a_round_trip_through_its_file(
    previous: Previous | None, issued: datetime | None
) -> None:
    record = replace(RECORD, previous=previous, issued=issued)
    assert channel.parse(record.encode()) == record


@pytest.mark.parametrize("key", sorted(json.loads(RECORD.encode())))
def test_every_field_is_required_including_the_expiry(key: str) -> None:
    with pytest.raises(MalformedError, match=key):
        channel.parse(changed(lambda v: v.pop(key)))


@pytest.mark.parametrize(
    "change",
    [
        lambda v: v.update(more=1),
        lambda v: v.update(schema_version=0),
        lambda v: v.update(channel="Stable"),
        lambda v: v.update(release_counter=0),
        lambda v: v.update(release_counter="42"),
        lambda v: v.update(package={}),
        lambda v: v["package"].update({"pi4": v["package"]["pi5-cpu"]}),
        lambda v: v["package"]["pi5-cpu"].update(path="../x.tar"),
        lambda v: v["package"]["pi5-cpu"].update(path="/x.tar"),
        lambda v: v["package"]["pi5-cpu"].update(sha256=None),
        lambda v: v["package"]["pi5-cpu"].update(size_bytes=0),
        lambda v: v["package"]["pi5-cpu"].update(size_bytes=1 << 50),
        lambda v: v["package"]["pi5-cpu"].pop("digest"),
        lambda v: v["rollout"].update(percent=101),
        lambda v: v["rollout"].update(percent=-1),
        lambda v: v["rollout"].update(salt=""),
        lambda v: v.update(minimum_runtime="1"),
        lambda v: v.update(minimum_runtime=f"0.{'9' * 5000}.0"),
        lambda v: v.update(issued="yesterday"),
        lambda v: v.update(expires=None),
        lambda v: v.update(expires="never"),
        lambda v: v["previous"].update(release_counter=0),
        lambda v: v["provenance"].update(dataset_manifest="x"),
    ],
)
def test_a_field_of_another_form_is_refused(
    change: Callable[[dict[str, Any]], object],
) -> None:
    with pytest.raises(ContinuonError):
        channel.parse(changed(change))


def test_an_oversized_file_is_not_decoded() -> None:
    with pytest.raises(OversizedError):
        channel.parse(b" " * 300_000)


@given(st.data())
def test_a_flipped_bit_never_gives_the_same_channel(data: st.DataObject) -> None:
    raw = bytearray(RECORD.encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        record = channel.parse(bytes(raw))
    except ContinuonError:
        return
    assert record != RECORD
    assert record.encode() == bytes(raw)


@given(st.binary(max_size=200))
def test_random_bytes_raise_a_typed_error(raw: bytes) -> None:
    with pytest.raises(ContinuonError):
        channel.parse(raw)


@pytest.mark.parametrize("name", ["nightly.json", "nightly.dsse.json"])
def test_split_uri_returns_store_and_channel(name: str) -> None:
    uri = f"gs://bucket/artifacts/channels/{name}"
    assert channel.split_uri(uri) == ("gs://bucket/artifacts", "nightly")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "nightly.json",
        "file:///a/nightly.json",
        "file:///a/channels/nightly",
        "file:///a/channels/other.json",
        "file:///a/channels/",
    ],
)
def test_a_uri_of_another_form_is_refused_with_the_expected_form(uri: str) -> None:
    with pytest.raises(
        MalformedError, match=r"channels/NAME\.json, where NAME is one of nightly"
    ):
        channel.split_uri(uri)


def test_a_rollout_with_a_percent_out_of_range_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        Rollout(101, "salt")


@pytest.mark.parametrize(
    ("name", "known"), [("TARGETS", TARGETS), ("CHANNELS", CHANNELS)]
)
def test_build_rules_take_the_names_of_the_formats(
    name: str, known: tuple[str, ...]
) -> None:
    # Starlark cannot import Python, so the rules have a copy, in the order of names.
    text = (Path(__file__).parent / "private" / "providers.bzl").read_text()
    (value,) = (
        line.removeprefix(f"{name} = ")
        for line in text.splitlines()
        if line.startswith(f"{name} = ")
    )
    assert ast.literal_eval(value) == sorted(known)
