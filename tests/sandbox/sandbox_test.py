"""What a Bazel action sees of the machine, as .bazelrc sets it; this test is one."""

import errno
import fcntl
import os
import socket
import struct

import pytest

# Reserved for documentation (RFC 5737): even with a network, nothing answers there.
OUTSIDE = ("192.0.2.1", 80)
SIOCGIFFLAGS, IFF_UP = 0x8913, 0x1
# Bazel's own PATH, not the caller's; test-setup.sh puts the current folder first.
STRICT_PATH = "/bin:/usr/bin:/usr/local/bin"


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
