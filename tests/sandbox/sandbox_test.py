"""What a Bazel action sees of the machine, as .bazelrc sets it; this test is one."""

import errno
import fcntl
import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest

# Reserved for documentation (RFC 5737): even with a network, nothing answers there.
OUTSIDE = ("192.0.2.1", 80)
SIOCGIFFLAGS, IFF_UP = 0x8913, 0x1
# Bazel's own PATH, not the caller's; test-setup.sh puts the current folder first.
STRICT_PATH = "/bin:/usr/bin:/usr/local/bin"


# The settings by which a kernel forbids user namespaces, and what allows them.
SETTINGS = {
    "kernel/unprivileged_userns_clone": ("0", "1"),
    "kernel/apparmor_restrict_unprivileged_userns": ("1", "0"),
    "user/max_user_namespaces": ("0", "10000"),
}


def find_remedies() -> list[str]:
    """The commands that allow user namespaces on this machine; none if they work."""
    unshare = shutil.which("unshare")
    assert unshare is not None
    done = subprocess.run([unshare, "-Urm", "true"], capture_output=True, check=False)
    if done.returncode == 0:
        return []
    found = []
    for name, (forbidding, allowing) in SETTINGS.items():
        try:
            value = Path("/proc/sys", name).read_text().strip()
        except OSError:
            continue
        if value == forbidding:
            found.append(f"sysctl -w {name.replace('/', '.')}={allowing}")
    return found or ["in a container, start it with --security-opt seccomp=unconfined"]


def test_machine_lets_bazel_keep_actions_from_the_network() -> None:
    remedies = find_remedies()
    assert not remedies, (
        "user namespaces are forbidden here, so actions of this machine can reach the "
        "network and write to /tmp; everything else holds. As root, run: "
        f"{' or '.join(remedies)}; or leave this test out: "
        "--test_tag_filters=-long,-namespaces"
    )


def is_up(interface: str) -> bool:
    """Whether an interface can carry anything (netdevice(7))."""
    request = struct.pack("16sH14x", interface.encode(), 0)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, request)
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_UP)


def test_only_the_loopback_interface_is_up() -> None:
    # Some kernels add tunnels to every network namespace, but these are down.
    assert [name for _, name in socket.if_nameindex() if is_up(name)] == ["lo"]


def test_connection_outside_fails_at_once() -> None:
    with pytest.raises(OSError) as caught:
        socket.create_connection(OUTSIDE, timeout=20).close()
    assert caught.value.errno == errno.ENETUNREACH


def test_loopback_connects() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname(), timeout=20) as client,
    ):
        assert client.getpeername() == server.getsockname()


def test_path_is_bazels_and_not_the_callers() -> None:
    assert os.environ["PATH"].removeprefix(".:") == STRICT_PATH


# Every caller has the first two; bazelw sets the third for Bazel, people the others.
@pytest.mark.parametrize(
    "name", ["HOME", "SHELL", "DEBIAN_MIRROR", "LD_LIBRARY_PATH", "http_proxy"]
)
def test_variable_of_the_caller_is_not_visible(name: str) -> None:
    assert name not in set(os.environ)  # a failure prints names, not values
