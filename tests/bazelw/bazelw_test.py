"""`bazelw` on machines with and without Bazel, apt, a mirror, namespaces and disk."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bazelw.machine import Machine


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "machine")


def wait_for(condition: Callable[..., object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assert_refused(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One line on stderr, the last one, that starts `bazelw: ` and holds `parts`."""
    assert result.returncode == 1
    assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("bazelw: ")
    for part in parts:
        assert part in line


def assert_no_root(machine: Machine) -> None:
    assert [
        root for root in machine.roots() if root.suffix not in (".new", ".work")
    ] == []


def assert_whole_root(machine: Machine) -> None:
    (root,) = machine.roots()
    assert (root / "usr/bin/bazel").stat().st_mode & 0o111
    assert (root / "usr/bin/old").read_bytes() == b"old"
    assert (root / "bin").readlink() == Path("usr/bin")
    assert (root / "usr/bin/sh").readlink() == Path("bash")
    assert (root / "usr/lib/jvm/default-java/bin/java").exists()
    assert "--sandbox_debug" not in (root / "etc/bazel/bazelrc").read_text()
    assert not (root / "usr/share/doc/others").exists()
    assert not (root / "usr/share/unneeded").exists()


# --- Which Bazel ---


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_bazelws_own_and_builds_nothing(machine: Machine, flag: str) -> None:
    result = machine.run(flag)
    assert result.returncode == 0
    assert "./bazelw help" in result.stdout
    for name in ("DEBIAN_MIRROR", "BAZELW_HOME", "BAZELW_BIND"):
        assert name in result.stdout
    assert not machine.cache.exists()


@pytest.mark.parametrize("name", ["bazel", "bazelisk"])
@pytest.mark.parametrize("reported", ["bazel 7.7.1", "bazel 7.7.1- (@non-git)"])
def test_bazel_on_path_of_right_version_gets_the_arguments(
    machine: Machine, name: str, reported: str
) -> None:
    machine.program(
        name,
        f'#!/bin/bash\nif [[ $1 == --version ]]; then echo "{reported}"; exit; fi\n'
        'printf "%s|" "$@"; exit 5\n',
    )
    result = machine.run("run", "//a", "--", "b c")
    assert (result.returncode, result.stdout) == (5, "run|//a|--|b c|")
    assert not machine.cache.exists()


@pytest.mark.parametrize("reported", ["bazel 8.4.2", "bazel 7.7.10", "no network"])
def test_bazel_on_path_of_another_version_is_ignored(
    machine: Machine, reported: str
) -> None:
    machine.program("bazel", f'#!/bin/bash\necho "{reported}"\n')
    result = machine.run("build", "//a")
    assert result.returncode == 0
    assert "root bazel: build" in result.stdout
    assert_whole_root(machine)


# --- The root ---


def test_first_call_builds_the_root_and_second_fetches_nothing(
    machine: Machine,
) -> None:
    first = machine.run("build", "//a", "--flag=b c")
    assert first.returncode == 0, first.stderr
    assert first.stdout.splitlines()[-3:] == [
        "root bazel: build",
        "root bazel: //a",
        "root bazel: --flag=b c",
    ]
    assert_whole_root(machine)
    assert sorted(machine.log()) == [
        "download bazel-bootstrap_7.7.1%2bds-8.deb",
        "download data%2bmore_1.deb",
        "download others_1.deb",
        "update",
    ]
    second = machine.run("build", "//a")
    assert (second.returncode, second.stderr) == (0, "")
    assert len(machine.log()) == 4


def test_bazel_gets_its_java_and_debians_rules(machine: Machine) -> None:
    output = machine.run("version").stdout
    assert "--server_javabase=/usr/lib/jvm/default-java" in output
    assert f"--bazelrc={machine.checkout}/third_party/bazel/debian.bazelrc" in output


def test_two_calls_at_once_build_one_root(machine: Machine) -> None:
    stalled = machine.folder / "stalled"
    stalled.touch()
    first = machine.start("version")
    wait_for(lambda: "update" in machine.log())
    second = machine.start("version")
    assert second.stderr is not None
    assert "another bazelw is building" in second.stderr.readline()
    stalled.unlink()
    for process in (first, second):
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        assert "root bazel: version" in output
    assert machine.log().count("update") == 1
    assert_whole_root(machine)


def test_killed_build_leaves_no_root_and_next_call_finishes_it(
    machine: Machine,
) -> None:
    machine.run("version", environment={"BAZELW_HOME": str(machine.cache)})
    (root,) = machine.roots()
    name = root.name
    for path in sorted(root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    root.rmdir()
    (machine.folder / "log").write_text("")

    (machine.folder / "stalled").touch()
    process = machine.start("version")
    wait_for((machine.cache / f"{name}.work/done").exists)
    wait_for((machine.cache / f"{name}.new/lib64").is_symlink)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert_no_root(machine)
    (machine.folder / "stalled").unlink()

    assert machine.run("version").returncode == 0
    assert_whole_root(machine)


def test_interrupted_download_is_resumed_from_whole_packages(machine: Machine) -> None:
    machine.publish(payload=os.urandom(3_100_000))
    damaged = machine.mirror / "others_1.deb"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:-600])
    assert_refused(machine.run("version"), "wrong checksum", "DEBIAN_MIRROR")
    assert_no_root(machine)
    damaged.write_bytes(whole)
    # Packages that were kept are checked again: this one is damaged now.
    for kept in machine.cache.glob("root-*.work/debs/data*.deb"):
        kept.write_bytes(b"")
    assert machine.run("version").returncode == 0
    assert_whole_root(machine)
    fetched = [line for line in machine.log() if line.startswith("download")]
    assert fetched.count("download bazel-bootstrap_7.7.1%2bds-8.deb") == 1


def test_interrupt_while_building_says_so_and_exits_130(machine: Machine) -> None:
    (machine.folder / "stalled").touch()
    process = machine.start("version")
    wait_for(lambda: list(machine.cache.glob("root-*.work/batches/001")))
    time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("bazelw: interrupted; run it again")
    assert_no_root(machine)


def test_root_that_a_power_cut_may_have_damaged_is_built_again(
    machine: Machine,
) -> None:
    machine.run("version")
    (root,) = machine.roots()
    wait_for((root / ".durable").exists)
    machine.run("version")
    assert machine.log().count("update") == 1
    (root / ".durable").rename(root / ".boot")
    (root / ".boot").write_text("another boot\n")
    (root / "usr/bin/bazel").write_bytes(b"")
    assert machine.run("version").returncode == 0
    assert machine.log().count("update") == 2
    assert_whole_root(machine)


def test_partly_removed_root_is_built_again(machine: Machine) -> None:
    machine.run("version")
    (root,) = machine.roots()
    (root / "usr/bin/bazel").unlink()
    assert machine.run("version").returncode == 0
    assert_whole_root(machine)


def test_root_of_another_recipe_is_removed_when_long_unused(machine: Machine) -> None:
    old, recent = machine.cache / "root-old", machine.cache / "root-recent"
    for root in (old, recent):
        root.mkdir(parents=True)
        (root / ".used").touch()
    os.utime(old / ".used", (0, 0))
    assert machine.run("version").returncode == 0
    assert not old.exists()
    assert recent.exists()


# --- Failures ---


def test_full_disk_is_named_and_a_later_call_succeeds(machine: Machine) -> None:
    machine.publish(payload=os.urandom(400_000))
    result = machine.run("version", file_limit_kib=300)
    assert_refused(result, "disk full", "BAZELW_HOME")
    assert_no_root(machine)
    assert machine.run("version").returncode == 0
    assert_whole_root(machine)


def test_too_little_free_disk_is_named_before_anything_is_fetched(
    machine: Machine,
) -> None:
    machine.program("df", "#!/bin/bash\necho head\necho d 9 9 500000 9% /\n")
    assert_refused(machine.run("version"), "disk full", "500 MB free", "1200 MB")
    assert machine.log() == []


def test_other_architecture_is_named(machine: Machine) -> None:
    machine.program("uname", "#!/bin/bash\necho aarch64\n")
    assert_refused(machine.run("version"), "aarch64", "x86_64", "copy the result")
    assert machine.log() == []


@pytest.mark.parametrize("tool", ["apt-get", "dpkg-deb"])
def test_machine_without_apt_is_pointed_to_bazelisk(
    machine: Machine, tool: str
) -> None:
    (machine.bin / tool).unlink()
    result = machine.run("version", environment={"DEBIAN_MIRROR": "http://m/debian"})
    assert_refused(result, tool, "not Debian or Ubuntu", "Bazel 7.7.1", "bazelisk")


@pytest.mark.parametrize("sources", [None, "http://mirror.example/ubuntu"])
def test_error_asks_for_a_mirror_if_apt_sources_name_none(
    machine: Machine, sources: str | None
) -> None:
    (machine.folder / "sources").unlink()
    if sources:
        (machine.folder / "sources").write_text(sources)
        (machine.folder / "os-release").write_text("ID=ubuntu\nID_LIKE=debian\n")
    assert_refused(machine.run("version"), "DEBIAN_MIRROR=")
    chosen = {"DEBIAN_MIRROR": "http://chosen.example/debian/"}
    assert machine.run("version", environment=chosen).returncode == 0


def test_ubuntu_takes_the_mirror_that_python_apt_names(machine: Machine) -> None:
    (machine.folder / "sources").write_text("http://mirror.example/ubuntu")
    template = machine.folder / "templates" / "Debian.info"
    template.parent.mkdir()
    template.write_text(
        "Suite: trixie/updates\n"
        "BaseURI: https://security.example/debian-security/\n"
        "Suite: trixie\n"
        "BaseURI: https://named.example/debian/\n"
        "BaseURI: https://other.example/debian/\n"
    )
    machine.program(
        "dpkg-query",
        f'#!/bin/bash\n[[ "$*" == "-L python-apt-common" ]] && echo "{template}"\n',
    )
    assert machine.run("version").returncode == 0
    arguments = (machine.folder / "bwrap_arguments").read_text().splitlines()
    assert "http://named.example/debian" in arguments


def test_mirror_list_of_a_cloud_image_is_followed(machine: Machine) -> None:
    listed = machine.folder / "debian.list"
    listed.write_text("http://listed.example/debian\n")
    (machine.folder / "sources").write_text(f"mirror+file:{listed}")
    assert machine.run("version").returncode == 0
    arguments = (machine.folder / "bwrap_arguments").read_text().splitlines()
    assert "http://listed.example/debian" in arguments


@pytest.mark.parametrize(
    ("error", "part"),
    [
        ("E: The repository 'm' is not signed.", "signature"),
        ("W: GPG error: NO_PUBKEY 123", "signature"),
        ("E: Could not resolve 'proxy.example'", "http_proxy"),
        ("E: Failed to fetch m  Could not connect to m:80", "http_proxy"),
        ("E: You don't have enough space: No space left on device", "disk full"),
        ("E: something else", "DEBIAN_MIRROR"),
    ],
)
def test_failed_package_index_names_the_cause(
    machine: Machine, error: str, part: str
) -> None:
    (machine.folder / "update_error").write_text(error + "\n")
    assert_refused(machine.run("version"), part)
    assert_no_root(machine)


def test_mirror_with_another_bazel_is_refused(machine: Machine) -> None:
    machine.publish(version="1:8.1.0+ds-1")
    result = machine.run("version")
    assert_refused(result, "Bazel 8.1.0 instead of 7.7.1")
    assert_no_root(machine)


def test_namespaces_that_were_forbidden_after_the_root_was_built_are_named(
    machine: Machine,
) -> None:
    assert machine.run("version").returncode == 0
    (machine.folder / "no_namespaces").touch()
    assert_refused(machine.run("version"), "user namespaces are forbidden")
    # The machine's bubblewrap failed, and so did the root's.
    assert (machine.folder / "loader_arguments").exists()


@pytest.mark.parametrize("has_bubblewrap", [True, False])
def test_forbidden_namespaces_are_named_before_anything_is_fetched(
    machine: Machine, has_bubblewrap: bool
) -> None:
    if not has_bubblewrap:
        (machine.bin / "bwrap").unlink()
    (machine.folder / "no_namespaces").touch()
    assert_refused(machine.run("version"), "user namespaces are forbidden", "bazelisk")
    assert machine.log() == []
    assert machine.roots() == []


@pytest.mark.parametrize("home", ["", "/", "/absent"])
def test_missing_home_is_named(machine: Machine, home: str) -> None:
    assert_refused(machine.run("version", environment={"HOME": home}), "HOME")


def home_with_a_space(machine: Machine) -> dict[str, str]:
    home = machine.folder / "my home"
    home.mkdir()
    return {"HOME": str(home), "TMPDIR": str(machine.folder)}


def test_home_with_a_space_gets_a_root_of_this_user_elsewhere(machine: Machine) -> None:
    result = machine.run("version", environment=home_with_a_space(machine))
    assert result.returncode == 0, result.stderr
    elsewhere = machine.folder / f"bazelw-{os.getuid()}"
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    assert [path.name[:5] for path in elsewhere.glob("root-*")] == ["root-"]


def test_folder_that_is_a_link_is_not_taken_for_a_root(machine: Machine) -> None:
    (machine.folder / f"bazelw-{os.getuid()}").symlink_to(machine.home)
    result = machine.run("version", environment=home_with_a_space(machine))
    assert_refused(result, f"bazelw-{os.getuid()}", "BAZELW_HOME")
    assert machine.roots() == []


def test_cache_path_with_a_space_is_refused(machine: Machine) -> None:
    result = machine.run("version", environment={"BAZELW_HOME": "/a b"})
    assert_refused(result, "/a b", "BAZELW_HOME")


# --- Inside the root ---


def test_machine_without_bubblewrap_uses_that_of_the_root_with_its_loader(
    machine: Machine,
) -> None:
    (machine.bin / "bwrap").unlink()
    machine.program("unshare", "#!/bin/bash\n")
    result = machine.run("version")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "root bazel: version"
    (root,) = machine.roots()
    own = root / "usr/lib/x86_64-linux-gnu"
    used = (machine.folder / "loader_arguments").read_text().splitlines()
    assert used[:3] == ["--library-path", str(own), str(root / "usr/bin/bwrap")]


def test_bubblewrap_of_the_machine_is_preferred_to_that_of_the_root(
    machine: Machine,
) -> None:
    assert machine.run("version").returncode == 0
    assert not (machine.folder / "loader_arguments").exists()


def test_bazel_sees_its_folders_and_not_the_whole_machine(
    machine: Machine, tmp_path: Path
) -> None:
    more = tmp_path / "more"
    more.mkdir()
    machine.run("version", environment={"BAZELW_BIND": f"{more}:/absent"})
    writable = [Path(path) for flag, path in machine.shown() if flag == "--bind"]
    for folder in (machine.home, machine.checkout, machine.cache, more, Path("/tmp")):
        assert any(folder.is_relative_to(path) for path in writable)
    assert Path("/") not in writable
    assert Path("/absent") not in writable


def test_bazel_sees_files_that_pip_and_certificate_settings_name(
    machine: Machine,
) -> None:
    (machine.home / ".config/pip").mkdir(parents=True)
    (machine.home / ".config/pip/pip.conf").write_text(
        "[global]\nfind-links = file:///usr/bin/env https://e.example/simple\n"
    )
    machine.run(
        "version",
        environment={
            "SSL_CERT_FILE": "/usr/bin/tar",
            "PIP_CERT": "/absent/ca.pem",
            # Bazel's root has its own files here, which must stay visible.
            "UV_FIND_LINKS": "/usr/share",
        },
    )
    read_only = [path for flag, path in machine.shown() if flag == "--ro-bind"]
    assert {"/usr/bin/env", "/usr/bin/tar"} <= set(read_only)
    assert not {"/absent/ca.pem", "/usr/share", "/simple"} & set(read_only)


def test_exit_code_of_bazel_is_returned(machine: Machine) -> None:
    assert machine.run("fail").returncode == 37


def test_ctrl_c_reaches_bazel(machine: Machine) -> None:
    machine.run("version")
    process = machine.start("wait")
    wait_for((machine.folder / "waiting").exists)
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 8


# --- bazelw run ---


def test_run_starts_the_program_outside_with_the_callers_environment(
    machine: Machine,
) -> None:
    caller = machine.checkout / "deeper"
    caller.mkdir()
    result = machine.run(
        "--max_idle_secs",
        "9",
        "run",
        "-c",
        "opt",
        "//a",
        "--",
        "--flag=b c",
        "it's",
        folder=caller,
        environment={"CALLER": "me"},
    )
    assert result.returncode == 7, result.stderr
    assert result.stdout.splitlines()[:-1] == [
        "argument: --flag=b c",
        "argument: it's",
        f"in: {caller}",
        f"workspace: {machine.checkout}",
        f"working: {caller}",
        "caller: me",
    ]
    assert result.stdout.splitlines()[-1].startswith(f"path: {machine.bin}")
    assert list((machine.cache / "run").iterdir()) == []


def test_run_of_a_failing_build_returns_the_exit_code_of_bazel(
    machine: Machine,
) -> None:
    result = machine.run("run", "//bad")
    assert (result.returncode, result.stdout) == (1, "")
    assert list((machine.cache / "run").iterdir()) == []


@pytest.mark.parametrize("flag", ["--norun", "--script_path=there"])
def test_run_that_only_builds_is_left_to_bazel(machine: Machine, flag: str) -> None:
    result = machine.run("run", flag, "//a")
    assert result.returncode == 0
    assert "argument" not in result.stdout
