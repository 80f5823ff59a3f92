"""Which requests the page answers at all, decided without IO.

A browser runs what other sites say, on the same machine and in the same network. So a
request counts only if

- its Host is an address, or a name of this machine. A site whose name was pointed to
  this address (DNS rebinding) has another one;
- it is a GET, which changes nothing, or its Origin is this very page and its form says
  what only this page's forms know.
"""

import hmac
import ipaddress
from collections.abc import Set
from typing import Final

_SAME: Final = ("same-origin", "none")  # none: typed by a person
_LONGEST_HOST: Final = 255


def is_own_host(host: str, port: int, names: Set[str], in_network: bool) -> bool:
    """Whether a Host header means this machine.

    Args:
        host: the header.
        port: where the page listens.
        names: names of this machine, in small letters.
        in_network: whether it may be reached by another address than its own.
    """
    name, _, given = host.lower().rpartition(":")
    if not name or given.endswith("]"):  # without a port, which then is 80
        name, given = host.lower(), "80"
    if len(host) > _LONGEST_HOST or given != str(port):
        return False
    if name in names:
        return True
    try:
        address = ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    # An address in the header is no name that somebody could have pointed here.
    return in_network or address.is_loopback


def is_same_origin(origin: str | None, fetch_site: str | None, host: str) -> bool:
    """Whether a request that changes something was sent by this page itself.

    Args:
        origin: the Origin header; a browser sends one with every POST.
        fetch_site: the Sec-Fetch-Site header, where a browser has it.
        host: the Host header, which is this machine's.
    """
    if fetch_site is not None and fetch_site not in _SAME:
        return False
    return origin is not None and origin.lower() == f"http://{host.lower()}"


def is_token(given: str, wanted: str) -> bool:
    """Whether a form says what only the forms of its session know."""
    return hmac.compare_digest(given.encode(errors="replace"), wanted.encode())
