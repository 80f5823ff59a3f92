"""Downloads a locked npm package from the registry that the machine is configured for.

usage: fetch.py LOCK NPM_DEFAULTS OUTPUT

The registry is NPM_CONFIG_REGISTRY, else `registry=` in the user's or the system's
npmrc, else npm's default, which is read from NPM_DEFAULTS.
"""

import base64
import hashlib
import json
import os
import re
import sys
import urllib.error
import urllib.request
from pathlib import Path

SIZE_LIMIT_BYTES = 200 << 20  # the package is 50 MB: the program for six platforms


def find_registry(defaults: Path) -> str:
    """Returns the URL of the registry that this machine is configured for."""
    for name in ("NPM_CONFIG_REGISTRY", "npm_config_registry"):
        if os.environ.get(name):
            return os.environ[name]
    for npmrc in (Path(os.environ.get("HOME", "/")) / ".npmrc", Path("/etc/npmrc")):
        if npmrc.is_file():
            found = re.search(r"^registry\s*=\s*(\S+)", npmrc.read_text(), re.M)
            if found:
                return found[1]
    found = re.search(
        r"define\('registry', \{\s*default: '([^']+)'", defaults.read_text()
    )
    if not found:
        sys.exit(
            f"{defaults}: expected npm's default registry; set NPM_CONFIG_REGISTRY"
        )
    return found[1]


def main() -> None:
    lock_path, defaults, output = map(Path, sys.argv[1:])
    lock = json.loads(lock_path.read_text())
    url = find_registry(defaults).rstrip("/") + "/" + lock["path"]
    try:
        with urllib.request.urlopen(url, timeout=300) as response:
            data = response.read(SIZE_LIMIT_BYTES)
    except (urllib.error.URLError, TimeoutError) as error:
        sys.exit(
            f"{lock['name']} {lock['version']}: download failed ({error}); check the "
            "network, https_proxy and NPM_CONFIG_REGISTRY"
        )
    got = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    if got != lock["integrity"]:
        sys.exit(
            f"{lock['name']} {lock['version']}: expected {lock['integrity']}, "
            f"got {got}; the registry served different bytes than the locked ones"
        )
    output.write_bytes(data)


main()
