"""Every parser of bytes from outside, with the inputs that cost it most.

Bytes from outside are parsed before anything is known about who made them, on a robot
too. A parser whose time grows with the square of its input can be held for hours by a
file within its size limit. Each parser here gets each of its worst inputs at two sizes;
the time must grow like the size, and its largest input, or one of 2 MiB where that is
larger, must take a second at most. By default the largest inputs for the time are
512 KiB, which show the growth as well.
"""

import io
import itertools
import json
import math
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from base import canonical_json
from base.digest import sha256_bytes
from base.errors import ContinuonError
from base.json_fields import decode, decode_canonical
from base.store.local_store import LocalStore
from base.store.store import open_store
from base.text_forms import check_relative_path, parse_time
from cloud.curate import spec as curation_spec
from cloud.evaluate import expert_baseline, held_out_report, judged_reports, report
from cloud.evaluate.rollouts import Trials
from cloud.index import snapshot
from cloud.ingest import enrolment, signed_record
from cloud.job import checkpoint_store, run_folder, run_lease
from edge import trial_journal
from edge.control import safety
from edge.episodes import robot_key, terms
from edge.ota import state_folder
from edge.ota.state_folder import StateFolder
from model import jpeg_frames
from release import (
    blessing,
    canary,
    channel,
    dsse,
    package,
    package_tar,
    provenance,
    run_summary,
    trials,
)
from release.limits import LIMITS
from release.signing import private_keys, sign_statements
from release.trusted_keys import TrustedKeys
from rlds import (
    example_codec,
    journal,
    jpeg_segments,
    manifest,
    protobuf,
    reader,
    receipt,
    redaction_record,
    sidecar,
    tfds_directory,
    tfds_features,
    tfrecord,
)
from rlds.testing import episodes

_KIB = 1024
_MIB = 1024 * _KIB
_GROWTH = 4  # between the two sizes
_LARGEST_RATIO = 8.0  # of the times; 16 would be the square
_TOO_SHORT_S = 0.02  # to measure a ratio
_LONGEST_S = 1.0
# A machine that others use makes a call slower, never faster, and for many seconds on
# end. So a large input is compared with small ones that are taken right before it, and
# what counts is the best of several such comparisons. A square stays one in each.
_SMALL_TRIES, _COMPARISONS = 3, 20
_MOST_BYTES = [512 * _KIB, pytest.param(2 * _MIB, marks=pytest.mark.long)]
# Times the input. One wide letter makes Python hold every letter in four bytes, in the
# text and once more in the string that it is part of.
_LARGEST_MEMORY = 10
_ALWAYS_BYTES = 512 * _KIB  # that a short input takes as well

type Make = Callable[[int], bytes]


def _fill(start: bytes, repeated: bytes, end: bytes, size: int) -> bytes:
    return start + repeated * ((size - len(start) - len(end)) // len(repeated)) + end


def _frame(make: Make, size: int) -> bytes:
    return tfrecord.frame(make(size - 16))


def _numbered(start: bytes, form: str, end: bytes, size: int) -> bytes:
    """Repeats `form` with a growing number of eight digits in it."""
    count = (size - len(start) - len(end)) // len(form.format("00000000"))
    return start + "".join(form.format(f"{i:08}") for i in range(count)).encode() + end


_JSON: Mapping[str, Make] = {
    "a string of escaped quotes without an end": partial(_fill, b'"', rb"\"", b""),
    "a string of backslashes without an end": partial(_fill, b'"', b"\\\\", b""),
    "an odd number of backslashes": partial(_fill, b'"\\', b"\\\\", b""),
    "escaped quotes with an end": partial(_fill, b'"', rb"\"", b'"'),
    "escapes of letters": partial(_fill, b'"', rb"\u0041", b'"'),
    "escapes of pairs": partial(_fill, b'"', rb"\ud83d\ude00", b'"'),
    "escapes of halves": partial(_fill, b'"', rb"\ud83d", b'"'),
    "wide letters": partial(_fill, b'"', "\U0001f600".encode(), b'"'),
    "one wide letter": partial(_fill, '"\U0001f600'.encode(), b"a", b'"'),
    "quotes alone": partial(_fill, b"", b'"', b""),
    "short strings in a row": partial(_fill, b"", b'"\\""', b""),
    "digits": partial(_fill, b"", b"7", b""),
    "digits of a fraction": partial(_fill, b"0.", b"7", b""),
    "zeros of a fraction": partial(_fill, b"0.", b"0", b"1"),
    "digits of an exponent": partial(_fill, b"1e", b"7", b""),
    "digits of a negative exponent": partial(_fill, b"1e-", b"7", b""),
    "a list of long numbers": partial(_fill, b"[", b"7" * 5000 + b",", b"1]"),
    "open brackets": partial(_fill, b"", b"[", b""),
    "open objects": partial(_fill, b"", b'{"a":', b""),
    "empty lists": partial(_fill, b"[", b"[],", b"[]]"),
    "objects of one key": partial(_fill, b"[", b'{"a":0},', b"0]"),
    "zeros": partial(_fill, b"[", b"0,", b"0]"),
    "numbers": partial(_fill, b"[", b"0.125,", b"0]"),
    "different keys": partial(_numbered, b"{", '"{}":0,', b'"":0}'),
    "one key again and again": partial(_fill, b"{", b'"a":0,', b'"a":0}'),
    "commas": partial(_fill, b"[", b",", b"]"),
    "keys that are out of order": partial(_fill, b'{"b":', b'[{"b":0,"a":0}],', b"0}"),
    "escapes that need none": partial(_fill, b'"', rb"\/", b'"'),
    "spaces": partial(_fill, b"", b" ", b""),
    "lines": partial(_fill, b"[", b"\n", b"x"),
    "bytes that are no text": partial(_fill, b'"', b"\xff", b'"'),
}

_WORST_JSON = (
    "different keys",
    "a string of escaped quotes without an end",
    "open brackets",
    "objects of one key",
    "one wide letter",
    "a list of long numbers",
)


def _record(field: str, value: object, whole: Mapping[str, object]) -> bytes:
    return canonical_json.encode({**whole, field: value})


def _count(size: int, each_bytes: int) -> range:
    return range(size // each_bytes)


_PRIVACY = {
    "transform_version": "1",
    "detectors": {},
    "fields_covered": [],
    "frames_masked": 0,
    "attested": True,
}
_SIDECAR = {
    "schema_version": "0.1.0",
    "episode_id": "x",
    "sha256": "0" * 64,
    "size_bytes": 1,
    "num_steps": 1,
    "robot_hash": "0" * 64,
    "date": "2026-01-31",
    "consent": {"granted": True, "by": "", "at": ""},
    "safety": {"violations": 0, "escalated": False},
    "privacy": _PRIVACY,
    "package_digest": "",
    "delta_digest": "",
    "software": "1",
    "keyid": "",
}


def _sidecar_with(field: str, make: Callable[[int], object], size: int) -> bytes:
    return _record("privacy", {**_PRIVACY, field: make(size)}, _SIDECAR)


def _manifest(
    size: int,
    splits: Callable[[int], object] = lambda _: {},
    entries: Callable[[int], object] = lambda _: [],
    drops: Callable[[int], object] = lambda _: {},
    tasks: Callable[[int], object] = lambda _: {},
) -> bytes:
    spec: dict[str, object] = {}
    return canonical_json.encode(
        {
            "dataset": "d",
            "version": "1.0.0",
            "created_at": "t",
            "schema_version": "0.1.0",
            "index_snapshot_sha256": "0" * 64,
            "curation_spec": spec,
            "curation_spec_sha256": sha256_bytes(canonical_json.encode(spec)),
            "code_commit": "c",
            "splits": splits(size),
            "episodes": entries(size),
            "drops": drops(size),
            "statistics": {},
            "tasks": tasks(size),
        }
    )


def _entries(size: int, split: str = "s{:08}") -> list[object]:
    return [
        {
            "episode_id": f"{i:08}",
            "sha256": "0" * 64,
            "split": split.format(i),
            "num_steps": 1,
        }
        for i in _count(size, 136)
    ]


def _shards(size: int) -> dict[str, object]:
    return {
        f"s{i:08}": [
            {
                "path": f"{i:08}",
                "sha256": "0" * 64,
                "size_bytes": 1,
                "num_episodes": 1,
                "num_steps": 1,
            }
        ]
        for i in _count(size, 160)
    }


_MANIFESTS: Mapping[str, Make] = {
    "a split for each episode": lambda size: _manifest(
        size // 2, splits=_shards, entries=_entries
    ),
    "splits without shards": partial(
        _manifest, splits=lambda size: {f"s{i:08}": [] for i in _count(size, 16)}
    ),
    "reasons of drops": partial(
        _manifest, drops=lambda size: {f"{i:08}": "x" for i in _count(size, 15)}
    ),
    "episodes of no split": partial(_manifest, entries=_entries),
    "tasks of many splits": lambda size: _manifest(
        size // 2,
        entries=_entries,
        tasks=lambda half: {f"s{i:08}": {"a": 1} for i in _count(half, 20)},
    ),
}
_SIDECARS: Mapping[str, Make] = {
    "many covered fields": partial(
        _sidecar_with, "fields_covered", lambda size: ["a"] * (size // 4)
    ),
    "many detectors": partial(
        _sidecar_with,
        "detectors",
        lambda size: {f"{i:08}": "0" * 64 for i in _count(size, 78)},
    ),
    "a long name of an operator": lambda size: _record(
        "consent", {"granted": True, "by": "x" * size, "at": ""}, _SIDECAR
    ),
}


def _envelope(size: int, signatures: int = 32) -> bytes:
    return canonical_json.encode(
        {
            "payload": "AAAA" * (size // 4),
            "payloadType": "x",
            "signatures": [
                {"keyid": f"{i:064x}", "sig": "AAAA"} for i in range(signatures)
            ],
        }
    )


_ENVELOPES: Mapping[str, Make] = {
    "a long payload": lambda size: _envelope(size - 4 * _KIB),
    "a payload that is not base64": lambda size: _envelope(size - 4 * _KIB).replace(
        b"AAAA", b"A=A?"
    ),
    "a payload that is not ASCII": lambda size: _envelope(size - 4 * _KIB).replace(
        b"AAAA", "\u00e9\u00e9".encode()
    ),
    "many signatures": lambda size: _envelope(0, size // 90),
}


def _held_out(size: int) -> bytes:
    """A report with many long names of slices, which may be as long as they like."""
    most = 1000
    slices = {
        name: ["x" * (size // 6)] for name in ("robot", "day", "actor", "outcome")
    }
    return canonical_json.encode(
        {
            "schema_version": 1,
            "evidence": "held-out",
            "package_digest": "0" * 64,
            "dataset_manifest": "0" * 64,
            "split_by": ["x" * (size // 6)],
            "action_minimum": [0.0],
            "action_maximum": [1.0],
            "slices": {**slices, "task": ["x" * (size // 6 - 230 * (size // 8000))]},
            "episodes": [
                {
                    "sha256": f"{k:064x}",
                    "steps": 1,
                    "error": 0.5,
                    "constant_error": 0.5,
                    "slices": dict.fromkeys([*slices, "task"], 0),
                }
                for k in range(min(most, size // 8000))
            ],
            "step_latency_us": {"p50": 1.0, "p99": 1.0},
            "steps": 1,
            "safety_violations": 0,
        }
    )


_SESSION = {
    "package_digest": "0" * 64,
    "baseline_digest": "1" * 64,
    "session": "s",
    "planned_pairs": 600,
    "blind": False,
    "robot_model": "r",
    "environment_id": "e",
    "task": "t",
    "simulated": True,
    "max_steps": 1,
}


def _list_trials(size: int) -> list[dict[str, object]]:
    """As many trials that are left out as there may be, each with long episodes."""
    record = trials.TrialsRecord(**_SESSION)  # type: ignore[arg-type]
    most = trials.MOST_TRIALS
    one = {
        "pair": 0,
        "arm": record.order(0)[0],
        "outcome": "left out",
        "steps": 1,
        "stop_rule": "",
    }
    return [{**one, "episodes": ["x" * (size // most - 130)]} for _ in range(most)]


def _trials(size: int) -> bytes:
    return canonical_json.encode(
        {
            **_SESSION,
            "schema_version": 1,
            "evidence": "trials",
            "keyid": "0" * 64,
            "signature": "AAAA",
            "trials": _list_trials(size - 1000),
        }
    )


def _trial_lines(size: int) -> bytes:
    lines: list[object] = [{"schema_version": 1, "session": _SESSION}]
    lines += [{"ends": one} for one in _list_trials(size - 16 * _KIB)]
    return b"\n".join(map(canonical_json.encode, lines))


_CHECKPOINTS: Mapping[str, Make] = {
    "many files": lambda size: canonical_json.encode(
        {
            "schema_version": 1,
            "files": [
                {"path": f"{i:08}", "sha256": "0" * 64, "size_bytes": 0}
                for i in _count(size, 112)
            ],
        }
    ),
}


def _keyring(size: int, *, roles: int = 0) -> bytes:
    listed = ["provenance"] * roles if roles else []
    key = {"keyid": "0" * 64, "public": "AAAA", "roles": listed, "development": False}
    keys = [key] if roles else [key for _ in _count(size, 140)]
    return canonical_json.encode({"schema_version": 1, "keys": keys})


_KEYRINGS: Mapping[str, Make] = {
    "many keys": _keyring,
    "many roles": lambda size: _keyring(size, roles=size // 13),
    "many thresholds": lambda size: canonical_json.encode(
        {
            "schema_version": 1,
            "keys": [],
            "thresholds": {f"{i:08}": 1 for i in _count(size, 13)},
        }
    ),
}
_PACKAGE = json.loads(
    """{"schema_version": 1, "family": "f", "version": "1", "release_counter": 0,
    "target": "tpu", "backbone_digest": "", "safety_version": "1", "metadata": {},
    "robot": {}, "files": [], "functions": {}, "surfaces": {}}"""
)
_PACKAGES: Mapping[str, Make] = {
    "many files": lambda size: _record(
        "files",
        [
            {"path": f"{i:08}", "sha256": "0" * 64, "size_bytes": 0}
            for i in _count(size, 112)
        ],
        _PACKAGE,
    ),
    "a path of many segments": lambda size: _record(
        "files",
        [{"path": "a/" * (size // 2), "sha256": "0" * 64, "size_bytes": 0}],
        _PACKAGE,
    ),
    "many functions": lambda size: _record(
        "functions",
        {f"{i:08}": {"path": "", "inputs": 0, "outputs": 0} for i in _count(size, 50)},
        _PACKAGE,
    ),
}


def _field(number: int, payload: bytes) -> bytes:
    return protobuf.encode_bytes_field(number, payload)


def _feature(name: bytes, feature: bytes) -> bytes:
    return _field(1, _field(1, name) + _field(2, feature))


def _example_of(make_list: Make, name: bytes = b"steps/is_first") -> Make:
    """Returns a maker of examples in which one feature has the bytes of `make_list`."""
    return lambda size: _field(1, _feature(name, make_list(size - 64)))


_EXAMPLES: Mapping[str, Make] = {
    "zeros": partial(_fill, b"", b"\0", b""),
    "empty messages": partial(_fill, b"", b"\x0a\0", b""),
    "empty features": lambda size: _field(1, _fill(b"", b"\x0a\0", b"", size - 8)),
    "features without values": lambda size: _field(
        1,
        b"".join(_feature(b"%08d" % i, _field(1, b"")) for i in _count(size - 8, 16)),
    ),
    "varints without an end": _example_of(lambda size: _fill(b"", b"\x80", b"", size)),
    "lists in one feature": _example_of(partial(_fill, b"", b"\x0a\0", b"")),
    "single integers": _example_of(
        lambda size: _field(3, _fill(b"", b"\x08\x01", b"", size))
    ),
    "empty runs of integers": _example_of(
        lambda size: _field(3, _fill(b"", b"\x0a\0", b"", size))
    ),
    "packed integers of a byte": _example_of(
        lambda size: _field(3, _field(1, b"\1" * size))
    ),
    "packed integers of two bytes": _example_of(
        lambda size: _field(3, _field(1, b"\x81\x01" * (size // 2)))
    ),
    "packed integers of ten bytes": _example_of(
        lambda size: _field(3, _field(1, (b"\xff" * 9 + b"\1") * (size // 10)))
    ),
    "packed integers without an end": _example_of(
        lambda size: _field(3, _field(1, b"\xff" * size))
    ),
    "single numbers": _example_of(
        lambda size: _field(2, _fill(b"", b"\x0d\0\0\0\0", b"", size)),
        b"steps/observation/state",
    ),
    "empty texts": _example_of(
        lambda size: _field(1, _fill(b"", b"\x0a\0", b"", size)), b"tags"
    ),
    "a whole episode": lambda size: example_codec.encode(
        episodes.episode(count=size // 47)
    ),
}
_RECORDS: Mapping[str, Make] = {
    "empty records": partial(_fill, b"", tfrecord.frame(b""), b""),
    "one record of zeros": lambda size: tfrecord.frame(bytes(size - 16)),
    "zeros": bytes,
    "a header again and again": partial(_fill, b"", tfrecord.frame(b"x")[:12], b""),
    **{
        f"a record of {name}": partial(_frame, make) for name, make in _EXAMPLES.items()
    },
}
_HEADER = journal.header(episodes.episode().spec, episodes.metadata())
_JOURNALS: Mapping[str, Make] = {
    "small steps": partial(_fill, _HEADER, tfrecord.frame(bytes(64)), b""),
    "one large step": lambda size: _HEADER + tfrecord.frame(bytes(size - 1024)),
    "a step without an end": lambda size: (
        _HEADER + tfrecord.frame(bytes(size))[: size - 1024]
    ),
    "a header without an end": lambda size: tfrecord.frame(bytes(size))[:size],
}
_SCAN = b"\xff\xd8\xff\xda\0\2"
_IMAGES: Mapping[str, Make] = {
    "fill bytes": partial(_fill, b"\xff\xd8", b"\xff", b""),
    "empty tables": partial(_fill, b"\xff\xd8", b"\xff\xc4\0\2", b""),
    "empty scans": partial(_fill, b"\xff\xd8", b"\xff\xda\0\2", b""),
    "restarts": partial(_fill, b"\xff\xd8", b"\xff\xd0", b""),
    "a scan without an end": partial(_fill, _SCAN, b"\xff\0", b""),
    "restarts in a scan": partial(_fill, _SCAN, b"\xff\xd0", b""),
    "fill bytes in a scan": partial(_fill, _SCAN, b"\xff\xff\0", b""),
    "zeros in a scan": partial(_fill, _SCAN, b"\0", b""),
}
_TEXTS: Mapping[str, Make] = {
    "letters": partial(_fill, b"", b"a", b""),
    "slashes": partial(_fill, b"", b"/", b""),
    "segments": partial(_fill, b"", b"a/", b""),
    "dots": partial(_fill, b"", b"../", b""),
    "digits": partial(_fill, b"", b"1", b""),
    "a file URI": partial(_fill, b"file:///", b"%41", b""),
    "a file URI of zeros": partial(_fill, b"file:///", b"%00", b""),
    "a bucket's URI": partial(_fill, b"file:///", b"a?#", b""),
    "brackets": partial(_fill, b"gs://", b"[", b""),
    "colons": partial(_fill, b"file", b":", b""),
    "a channel's URI": partial(_fill, b"file:///", b"channels/", b"nightly.json"),
}


def _tar(size: int, name: Callable[[int], bytes], data: bytes = b"") -> bytes:
    out = []
    for i in _count(size, 512 * (2 if data else 1)):
        block = package_tar._header(name(i).decode(), len(data))
        out.append(block + data.ljust(-(-len(data) // 512) * 512, b"\0"))
    return b"".join(out) + bytes(1024)


_TARS: Mapping[str, Make] = {
    "empty files": partial(_tar, name=lambda i: b"%08d" % i),
    "small files": partial(_tar, name=lambda i: b"%08d" % i, data=b"x"),
    "one name again and again": partial(_tar, name=lambda _: b"a"),
    "folders of one file": partial(_tar, name=lambda i: b"%08d/a/b/c/d/e" % i),
    "zeros": bytes,
    "one large file": lambda size: (
        package_tar._header("a", size // 512 * 512)
        + bytes(size // 512 * 512)
        + bytes(1024)
    ),
    "other bytes": partial(_fill, b"", b"\xff", b""),
}


def _image(size: int, *, scans: int | None = None) -> bytes:
    """A progressive image of 128 pixels per byte, its last scan again and again.

    That scan says in a few bytes that nothing is to be changed.
    """
    content = io.BytesIO()
    pixels = Image.new("L", (4096, max(1, size // 32)))
    pixels.save(content, "JPEG", progressive=True)
    image = content.getvalue()
    scan = image[image.rindex(b"\xff\xda") : -2]
    if scans is None:
        return image[:-2] + scan * ((size - len(image)) // len(scan)) + image[-2:]
    whole = image[:-2] + scan * (scans - image.count(b"\xff\xda")) + image[-2:]
    tables = b"\xff\xdb\x00\x43\x00" + b"\1" * 64
    return whole[:2] + tables * ((size - len(whole)) // len(tables)) + whole[2:]


_PROGRESSIVE: Mapping[str, Make] = {
    "many scans": _image,
    "as many scans as are taken": partial(_image, scans=jpeg_segments.MAX_SCANS),
}


# Files in memory where the system has them: the time of a disk is not that of a parser.
_MEMORY = Path("/dev/shm")
_FOLDER = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None


def _unpack(raw: bytes) -> None:
    with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
        package_tar.unpack_tar(raw, Path(folder, "into"), LIMITS.package_bytes)


def _from_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Turns a reader of a file of this name into a parser of bytes."""

    def parse(raw: bytes) -> object:
        with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
            path = Path(folder, name)
            path.write_bytes(raw)
            path.chmod(0o600)
            return read(path)

    return parse


_TRIALS = Trials("e", ("t",), 1, 0, 1)


@dataclass(frozen=True)
class Parser:
    """A parser, its largest input, and makers of inputs of about a given size."""

    parse: Callable[[bytes], object]
    limit_bytes: int
    worst: Mapping[str, Make]
    largest_memory: int = _LARGEST_MEMORY


def _json(
    parse: Callable[[bytes], object],
    limit_bytes: int,
    own: Mapping[str, Make] | None = None,
    largest_memory: int = _LARGEST_MEMORY,
) -> Parser:
    """A parser that reads its bytes by `json_fields.decode`, which has its own row."""
    worst = {name: _JSON[name] for name in _WORST_JSON}
    return Parser(parse, limit_bytes, {**worst, **(own or {})}, largest_memory)


def _text(parse: Callable[[str], object]) -> Parser:
    # The longest argument that Linux passes to a program.
    return Parser(lambda raw: parse(raw.decode()), 128 * _KIB, _TEXTS)


_PARSERS: Mapping[str, Parser] = {
    "canonical JSON": Parser(
        lambda raw: decode_canonical(raw, "x", 2 * _MIB), 2 * _MIB, _JSON
    ),
    "envelope": _json(dsse.Envelope.parse, LIMITS.envelope_bytes, _ENVELOPES),
    "channel": _json(channel.parse, LIMITS.channel_bytes),
    "keyring": _json(
        lambda raw: TrustedKeys.parse(raw, True), LIMITS.keyring_bytes, _KEYRINGS
    ),
    "package.json": _json(package.parse, LIMITS.manifest_bytes, _PACKAGES),
    "provenance": _json(provenance.parse, LIMITS.envelope_bytes),
    "canary.json": _json(canary.parse, canary.LIMIT_BYTES),
    "safety.json": _json(safety.parse, LIMITS.manifest_bytes),
    "summary of a run": _json(
        lambda raw: run_summary.parse(raw, "x"), run_summary.LIMIT_BYTES
    ),
    "sidecar": _json(sidecar.parse, sidecar.LIMIT_BYTES, _SIDECARS),
    "sidecar with a signature": _json(
        lambda raw: sidecar.verify(raw, {}), sidecar.LIMIT_BYTES, _SIDECARS
    ),
    "receipt": _json(receipt.parse, receipt.LIMIT_BYTES),
    "redaction record": _json(
        lambda raw: redaction_record.from_json(decode(raw, "x", _MIB)),
        _MIB,
    ),
    # A manifest and the shards of a dataset are made of many small values.
    "manifest": _json(manifest.parse, manifest.LIMIT_BYTES, _MANIFESTS, 20),
    "enrolment": _json(lambda raw: enrolment.parse(raw, "x"), enrolment._LIMIT_BYTES),
    "verdict or claim": _json(
        lambda raw: signed_record.verify(raw, "x", TrustedKeys({}, True), "x"),
        signed_record.LIMIT_BYTES,
    ),
    "blessing": _json(blessing.parse, LIMITS.envelope_bytes),
    "envelope to add a signature to": _json(
        _from_file("x", sign_statements.read_envelope), LIMITS.envelope_bytes
    ),
    "private key": _json(
        _from_file("x", private_keys.PrivateKey.read), LIMITS.key_file_bytes
    ),
    "robot's key": _json(
        _from_file("x", robot_key.load_or_create), robot_key._LIMIT_BYTES
    ),
    "robot's public key": _json(
        _from_file(
            f"{'0' * 64}.json",
            lambda path: robot_key.read_public(path.parent, "0" * 64),
        ),
        robot_key._LIMIT_BYTES,
    ),
    "terms of an episode": _json(
        _from_file("x.terms.json", lambda path: terms.read(path.parent, "x")),
        terms._LIMIT_BYTES,
    ),
    "pointer to a package": _json(
        _from_file("current", lambda path: StateFolder(path.parent).read_installed()),
        state_folder._LIMIT_BYTES,
    ),
    "newest time": _json(
        _from_file(
            "newest_time", lambda path: StateFolder(path.parent).read_newest_time()
        ),
        state_folder._LIMIT_BYTES,
    ),
    "progress of a run": _json(
        _from_file("x", run_summary.read_progress), run_summary.PROGRESS_LIMIT_BYTES
    ),
    "fields of a dataset": _json(
        lambda raw: tfds_features.read_spec(raw, "x"), tfds_features.LIMIT_BYTES
    ),
    "shards of a dataset": _json(
        _from_file("x", lambda path: tfds_directory._shard_count(path, "d", "train")),
        tfds_directory._INFO_LIMIT_BYTES,
        {
            "many shards": lambda size: (
                json.dumps(
                    {
                        "name": "d",
                        "splits": [
                            {"name": "train", "shardLengths": ["1"] * (size // 32)}
                        ],
                    },
                    indent=2,
                )
                .encode()
                .ljust(size)
            )
        },
        20,
    ),
    "journal": Parser(
        _from_file("x.journal", journal.read),
        journal._MAX_STEPS_BYTES,
        {**_JOURNALS, "zeros": bytes},
    ),
    "run.json": _json(run_folder.parse_identity, run_folder._RECORD_LIMIT_BYTES),
    "lease of a run": _json(run_lease.parse, run_lease._LIMIT_BYTES),
    "manifest of a checkpoint": _json(
        _from_file(
            checkpoint_store.MANIFEST,
            lambda path: checkpoint_store._read_manifest(
                LocalStore(path.parent.parent), path.parent.name
            ),
        ),
        checkpoint_store.MANIFEST_LIMIT_BYTES,
        _CHECKPOINTS,
    ),
    "report of an evaluation": _json(
        lambda raw: report.parse(raw, "x"), report.LIMIT_BYTES
    ),
    "report of held-out episodes": _json(
        lambda raw: held_out_report.parse(raw, "x"),
        held_out_report.LIMIT_BYTES,
        {"many episodes": _held_out},
    ),
    "reports of several kinds": _json(
        lambda raw: judged_reports.parse([(raw, "x")], "x"),
        LIMITS.evaluation_bytes,
        {"many episodes": _held_out},
    ),
    "record of trials": _json(
        lambda raw: trials.parse(raw, "x"), trials.LIMIT_BYTES, {"many trials": _trials}
    ),
    "journal of trials": Parser(
        _from_file("x", trial_journal.read),
        trial_journal.LIMIT_BYTES,
        {
            **{name: _JSON[name] for name in _WORST_JSON},
            "many trials": _trial_lines,
            "empty lines": partial(_fill, b"", b"\n", b""),
            "torn lines": partial(_fill, b"", b'{"a\n', b""),
            "empty objects": partial(_fill, b"", b"{}\n", b""),
        },
    ),
    "baseline of the expert": _json(
        _from_file("x", lambda path: expert_baseline.read(path, _TRIALS)),
        expert_baseline._LIMIT_BYTES,
    ),
    "curation spec": _json(lambda raw: curation_spec.parse(raw, "x"), _MIB),
    "index snapshot": _json(
        lambda raw: snapshot.parse(raw, "x"),
        _MIB,
        {"empty lines": partial(_fill, b"", b"\n", b"")},
    ),
    # An integer of one byte takes eight in an array; there are no more than MAX_STEPS.
    "example": Parser(example_codec.decode, example_codec.LIMIT_BYTES, _EXAMPLES, 12),
    "episode file": Parser(
        reader.read_episode_bytes, example_codec.LIMIT_BYTES, _RECORDS, 12
    ),
    "JPEG image": Parser(jpeg_segments.find_fault, 4 * _MIB, _IMAGES),
    "pixels of a JPEG image": Parser(
        lambda raw: jpeg_frames.check([raw], "x"),
        jpeg_segments.MAX_PIXELS // 128,
        _PROGRESSIVE,
    ),
    "package tar": Parser(_unpack, 64 * _KIB, _TARS),
    "store URI": _text(open_store),
    "channel URI": _text(channel.split_uri),
    "relative path": _text(lambda text: check_relative_path(text, "x")),
    "time": _text(lambda text: parse_time(text, "x")),
}


def _marks(parser: Parser, what: str) -> list[pytest.MarkDecorator]:
    """The worst JSON, for a parser that only reads it by `json_fields`, is a sweep."""
    swept = what in _WORST_JSON[1:] and parser.worst is not _JSON
    return [pytest.mark.long] if swept else []


_CASES = [
    pytest.param(parser, make, id=f"{name}: {what}", marks=_marks(parser, what))
    for name, parser in _PARSERS.items()
    for what, make in parser.worst.items()
]


_FIRST_CASES = {name: next(iter(parser.worst)) for name, parser in _PARSERS.items()}
_MEMORY_CASES = [
    pytest.param(
        parser,
        make,
        id=f"{name}: {what}",
        marks=[] if what == _FIRST_CASES[name] else [pytest.mark.long],
    )
    for name, parser in _PARSERS.items()
    for what, make in parser.worst.items()
]


def _run(parser: Parser, raw: bytes) -> None:
    try:
        parser.parse(raw)
    except ContinuonError as e:
        assert len(str(e)) < 2000


def _seconds(parser: Parser, raw: bytes) -> float:
    """Returns the processor time of one call."""
    begin = time.process_time()
    _run(parser, raw)
    return time.process_time() - begin


def _find_fault(
    longest_s: float,
    take_small_s: Callable[[], float],
    take_large_s: Callable[[], float],
) -> str:
    """What is wrong with the times of two inputs; "" if nothing is."""
    large_s = take_large_s()
    ratio = 0.0 if large_s <= _TOO_SHORT_S else math.inf
    for _ in range(_COMPARISONS):
        if large_s < longest_s and ratio < _LARGEST_RATIO:
            return ""
        small_s = min(take_small_s() for _ in range(_SMALL_TRIES))
        again_s = take_large_s()
        large_s, ratio = min(large_s, again_s), min(ratio, again_s / small_s)
    return f"{large_s:.3f} s of {longest_s:.3f} s, {ratio:.1f} times that of a quarter"


@pytest.mark.parametrize("most_bytes", _MOST_BYTES)
@pytest.mark.parametrize(("parser", "make"), _CASES)
def test_time_grows_like_the_size_of_the_input(
    parser: Parser, make: Make, most_bytes: int
) -> None:
    size = min(parser.limit_bytes, most_bytes)
    small, large = make(size // _GROWTH), make(size)
    assert size * 0.9 - 8192 < len(large) <= size + 8192
    fault = _find_fault(
        _LONGEST_S * size / min(parser.limit_bytes, 2 * _MIB),
        lambda: _seconds(parser, small),
        lambda: _seconds(parser, large),
    )
    assert not fault


def _look_back_at_each_line(raw: bytes) -> None:
    for end in range(0, len(raw), 64):
        raw.count(b"x", 0, end)


def test_square_is_found() -> None:
    parser = Parser(_look_back_at_each_line, _MIB, {})
    fault = _find_fault(
        math.inf,
        lambda: _seconds(parser, bytes(32 * _KIB)),
        lambda: _seconds(parser, bytes(128 * _KIB)),
    )
    assert "times that of a quarter" in fault


def test_machine_that_becomes_slow_is_no_fault() -> None:
    calls = itertools.count()

    def take_s(usual_s: float) -> float:
        return usual_s if next(calls) < 4 else 10 * usual_s

    assert not _find_fault(1.0, lambda: take_s(0.01), lambda: take_s(0.04))


@pytest.mark.parametrize("large_s", [0.5, 2.0])
def test_parser_that_is_slow_is_a_fault(large_s: float) -> None:
    fault = _find_fault(0.25, lambda: large_s / 4, lambda: large_s)
    assert fault.startswith(f"{large_s:.3f} s of 0.250 s")


@pytest.mark.parametrize(("parser", "make"), _MEMORY_CASES)
def test_memory_is_bounded(parser: Parser, make: Make) -> None:
    raw = make(min(parser.limit_bytes, 2 * _MIB))
    _run(parser, raw[:64])  # what a parser loads once
    tracemalloc.start()
    try:
        _run(parser, raw)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < parser.largest_memory * len(raw) + _ALWAYS_BYTES
