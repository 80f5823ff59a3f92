"""Runs the commands as a user does, and checks their output, files and exit codes."""

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest

from base.digest import sha256_bytes
from base.testing import command as command_testing
from release import channel, dsse, package, verification
from release.signing.private_keys import PrivateKey
from release.testing import tiny_release
from release.trusted_keys import ROLES


def done(command: str, *arguments: str) -> str:
    finished = command_testing.run(f"release.commands.{command}", *map(str, arguments))
    assert (finished.code, finished.err) == (0, "")
    return finished.out


def failed(code: int, command: str, *arguments: str) -> str:
    finished = command_testing.run(f"release.commands.{command}", *map(str, arguments))
    assert finished.code == code, finished.err
    assert finished.err.count("\n") == 1
    return finished.err


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """The JSON that `pack` takes, copied from a manifest."""
    tiny_release.write_package(tmp_path / "model")
    value = json.loads((tmp_path / "model" / "package.json").read_bytes())
    keys = (
        "robot",
        "functions",
        "surfaces",
        "backbone_digest",
        "safety_version",
        "metadata",
    )
    path = tmp_path / "fields.json"
    path.write_text(json.dumps({key: value[key] for key in keys}, indent=2))
    return path


def pack_flags(tmp_path: Path, fields: Path, name: str) -> tuple[str, ...]:
    files = [
        f"--file={tmp_path / 'model' / path}:{path}"
        for path in sorted(tiny_release.FILES)
    ]
    return (
        f"--fields={fields}",
        "--family=tiny",
        "--model_version=0.1.0",
        "--target=pi5-cpu",
        f"--folder={tmp_path / name}",
        f"--tar={tmp_path / name}.tar",
        *files,
    )


def test_files_become_a_package_and_a_verified_channel(
    tmp_path: Path, fields: Path
) -> None:
    key, ring = tmp_path / "key.json", tmp_path / "keyring.json"
    roles = [f"--role={role}" for role in ROLES]
    shown = done("generate_key", f"--key_file={key}", f"--keyring={ring}", *roles)
    assert f"keyid    {PrivateKey.read(key).keyid}\n" in shown
    assert stat.S_IMODE(key.stat().st_mode) == 0o600

    digest = done("pack", *pack_flags(tmp_path, fields, "out")).strip()
    folder = tmp_path / "out"
    assert verification.verify_integrity(folder).digest == digest
    shown = done("verify", f"--package={folder}", "--integrity_only")
    assert digest in shown

    signing = (f"--package={folder}", f"--key_file={key}")
    done(
        "sign",
        "--role=provenance",
        *signing,
        "--run_id=run-1",
        "--dataset_uri=file:///datasets/tiny",
        "--code_uri=git+file:///continuon",
        "--started=2026-01-31T07:00:00Z",
        "--finished=2026-01-31T08:00:00Z",
    )
    report = tiny_release.write_report(tmp_path / "evaluation.json", digest)
    done(
        "sign",
        "--role=blessing",
        *signing,
        "--verdict=blessed",
        "--reason=mean success 0.98",
        f"--report={report}",
    )
    trust = (f"--keyring={ring}",)
    assert (folder / "evaluation.json").read_bytes() == report.read_bytes()
    shown = done("verify", f"--package={folder}", "--target=pi5-cpu", *trust)
    assert "verdict  blessed" in shown

    store = (tmp_path / "store").as_uri()
    (tmp_path / "store").mkdir()
    shown = done(
        "publish",
        f"--store={tmp_path / 'store'}",
        "--channel=nightly",
        f"--package={folder}",
        f"--key_file={key}",
        *trust,
    )
    assert f"{store}/channels/nightly.json (release 1)" in shown
    uri = f"--channel={store}/channels/nightly.json"
    shown = done("verify", uri, *trust)
    assert f"pi5-cpu  {digest}" in shown
    plain = f"{tmp_path / 'store'}/channels/nightly.json"
    assert done("verify", f"--channel={plain}", *trust) == shown
    error = failed(2, "verify", uri, f"--keyring={plain}")
    assert f"--keyring: expected a keyring, got a channel in {plain}; name" in error
    error = failed(2, "verify", f"--channel={plain}x", *trust)
    assert "--channel: expected STORE/channels/NAME.json" in error
    error = failed(1, "verify", uri, "--last_counter=5", *trust)
    assert "expected a release counter above 5, got 1" in error


def test_the_example_in_make_channels_help_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "PACKAGE"
    tiny_release.write_package(folder)
    tiny_release.release(tmp_path).sign(folder)
    (tmp_path / "PACKAGE.tar").write_bytes(package.pack_tar(folder))
    example = done("make_channel", "--help").partition(" -- ")[2].partition("\n\n")[0]
    monkeypatch.chdir(tmp_path)
    flags = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {example}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    done("make_channel", *flags)
    made = channel.parse((tmp_path / "stable.json").read_bytes())
    blessing = (folder / "blessing.intoto.jsonl").read_bytes()
    assert made.provenance.blessing == sha256_bytes(blessing)


def test_signing_again_names_the_keys_of_the_replaced_statement(tmp_path: Path) -> None:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    tiny_release.release(tmp_path).sign(folder)
    blessing = folder / "blessing.intoto.jsonl"
    (earlier,) = dsse.Envelope.parse(blessing.read_bytes()).signatures
    key = PrivateKey.generate(("blessing",))
    key.write_new(tmp_path / "key.json")
    digest = verification.verify_integrity(folder).digest
    report = tiny_release.write_report(tmp_path / "evaluation.json", digest)
    shown = done(
        "sign",
        "--role=blessing",
        f"--package={folder}",
        f"--key_file={tmp_path / 'key.json'}",
        "--verdict=blessed",
        "--reason=seen",
        f"--report={report}",
    )
    assert shown == f"{blessing}\nreplaced what was signed by {earlier}\n"


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"<html>success 100 %</html>", "expected an evaluation report, got"),
        (b"[]", "expected an evaluation report, got"),
        (b"{}", "expected an evaluation report, got none"),
        (None, f"expected a report about package .*, got {'0' * 64}; name the run's"),
    ],
)
def test_a_verdict_is_signed_about_the_report_of_its_package_only(
    tmp_path: Path, content: bytes | None, match: str
) -> None:
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    PrivateKey.generate(("blessing",)).write_new(tmp_path / "key.json")
    report = tmp_path / "evaluation.json"
    if content is None:
        tiny_release.write_report(report, "0" * 64)
    else:
        report.write_bytes(content)
    flags = ("--role=blessing", f"--package={folder}", "--verdict=blessed")
    key = f"--key_file={tmp_path / 'key.json'}"
    error = failed(1, "sign", *flags, key, "--reason=seen", f"--report={report}")
    assert re.search(match, error)
    assert not (folder / "blessing.intoto.jsonl").exists()


@pytest.mark.parametrize(
    ("counter", "match"),
    [
        ("2", "a release counter of at least 3, below which package"),
        (
            "1000000001",
            "a release counter of at most 1,000,000,000 above 0, got 1000000001",
        ),
    ],
)
def test_a_channel_file_that_robots_would_refuse_is_not_made(
    tmp_path: Path, counter: str, match: str
) -> None:
    tiny_release.write_package(tmp_path / "p", release_counter=3)
    (tmp_path / "p.tar").write_bytes(package.pack_tar(tmp_path / "p"))
    error = failed(
        1,
        "make_channel",
        "--channel=stable",
        f"--release_counter={counter}",
        f"--tar={tmp_path / 'p.tar'}",
        "--expires=2026-03-01T00:00:00Z",
        "--run_id=run-1",
        f"--blessing={'0' * 64}",
        f"--output={tmp_path / 'stable.json'}",
    )
    assert match in error
    assert not (tmp_path / "stable.json").exists()


def test_a_malformed_time_is_wrong_usage(tmp_path: Path) -> None:
    tiny_release.write_package(tmp_path / "p")
    (tmp_path / "p.tar").write_bytes(package.pack_tar(tmp_path / "p"))
    error = failed(
        2,
        "make_channel",
        "--channel=stable",
        "--release_counter=1",
        f"--tar={tmp_path / 'p.tar'}",
        "--expires=tomorrow",
        "--run_id=run-1",
        f"--blessing={'0' * 64}",
        f"--output={tmp_path / 'stable.json'}",
    )
    assert error.startswith("make_channel: --expires: expected a UTC time such as ")
    assert error.endswith("got 'tomorrow'; write the time in this form\n")


def test_a_damaged_tar_in_the_store_is_named_with_a_remedy(tmp_path: Path) -> None:
    release = tiny_release.release(tmp_path)
    folder = tmp_path / "package"
    tiny_release.write_package(folder)
    release.sign(folder)
    published = release.publish(folder)
    with (tmp_path / "store" / published.tar_path).open("r+b") as stored:
        stored.write(bytes(50))
    ring, key = tmp_path / "keyring.json", tmp_path / "nightly.json"
    ring.write_bytes(release.trusted.encode())
    release.keys["channel:nightly"].write_new(key)
    error = failed(
        1,
        "publish",
        f"--store={release.store.uri}",
        "--channel=nightly",
        f"--package={folder}",
        f"--key_file={key}",
        f"--keyring={ring}",
    )
    assert f"{published.tar_path}: expected the sha256 of its name" in error
    assert "remove it and publish again" in error


def test_pack_twice_gives_the_same_bytes(tmp_path: Path, fields: Path) -> None:
    done("pack", *pack_flags(tmp_path, fields, "one"))
    done("pack", *pack_flags(tmp_path, fields, "two"))
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_pack_refuses_a_path_out_of_the_folder(tmp_path: Path, fields: Path) -> None:
    flags = pack_flags(tmp_path, fields, "out")
    error = failed(2, "pack", *flags, f"--file={fields}:../evil")
    assert "plain segments" in error
    assert not (tmp_path / "evil").exists()
    assert not (tmp_path / "out.tar").exists()


def test_development_keys_are_refused_with_the_flag_that_allows_them(
    tmp_path: Path,
) -> None:
    developer = tiny_release.release(tmp_path, development=True)
    tiny_release.write_package(tmp_path / "out")
    developer.sign(tmp_path / "out")
    ring = tmp_path / "keyring.json"
    ring.write_bytes(developer.trusted.encode())
    flags = (f"--package={tmp_path / 'out'}", f"--keyring={ring}")
    assert "--allow_development_keys" in failed(1, "verify", *flags)
    done("verify", *flags, "--allow_development_keys")


@pytest.mark.parametrize(
    "command",
    ["pack", "make_channel", "generate_key", "sign", "publish", "verify"],
)
def test_help_shows_the_command_and_missing_flags_are_wrong_usage(command: str) -> None:
    shown = done(command, "--help")
    assert f"./bazelw run //release:{command} " in shown
    assert "Flags:" in shown
    assert failed(2, command).startswith(f"{command}: ")


@pytest.mark.parametrize("missing", ["--key_file", "--keyring"])
def test_no_key_is_made_when_a_folder_is_missing(tmp_path: Path, missing: str) -> None:
    paths = {
        "--key_file": tmp_path / "key.json",
        "--keyring": tmp_path / "keyring.json",
        missing: tmp_path / "none" / "file",
    }
    flags = [f"{flag}={path}" for flag, path in paths.items()]
    error = failed(1, "generate_key", *flags, "--role=blessing")
    assert error.startswith(f"generate_key: {tmp_path / 'none' / 'file'}: expected")
    assert list(tmp_path.iterdir()) == []


def test_a_key_file_is_not_overwritten(tmp_path: Path) -> None:
    flags = (
        f"--key_file={tmp_path / 'key.json'}",
        f"--keyring={tmp_path / 'keyring.json'}",
        "--role=blessing",
    )
    done("generate_key", *flags)
    before = (
        (tmp_path / "key.json").read_bytes(),
        (tmp_path / "keyring.json").read_bytes(),
    )
    assert "choose another name" in failed(1, "generate_key", *flags)
    after = (
        (tmp_path / "key.json").read_bytes(),
        (tmp_path / "keyring.json").read_bytes(),
    )
    assert after == before
