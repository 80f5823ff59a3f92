"""Makes a private key and the keyring entry that trusts it.

    ./bazelw run //release:generate_key -- --key_file=KEY --keyring=KEYRING \\
        --role=provenance --role=blessing

The public key is added to the keyring, which is made if it does not exist.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

from pathlib import Path

from absl import app, flags

from base import command_line, durable_file, path_flags
from release.errors import KeyFileError
from release.signing.private_keys import PrivateKey
from release.trusted_keys import ROLES, TrustedKeys

_KEY_FILE = flags.DEFINE_string(
    "key_file", None, "private key file to make, mode 0600", required=True
)
_KEYRING = flags.DEFINE_string(
    "keyring", None, "keyring file that receives the public key", required=True
)
_ROLES = flags.DEFINE_multi_enum(
    "role", [], ROLES, "what the key may sign; may be repeated"
)
path_flags.files("key_file", "keyring")


def main(argv: list[str]) -> None:
    """Makes the key that the flags describe and prints its id and its files."""
    if len(argv) > 1 or not _ROLES.value:
        raise app.UsageError("name at least one --role and nothing but flags")
    path, keyring = Path(_KEY_FILE.value), Path(_KEYRING.value)
    trusted = TrustedKeys.from_keys(allow_development=False)
    if keyring.exists():
        trusted = TrustedKeys.read(keyring, allow_development=False)
    # A key without a keyring that names it would be useless.
    durable_file.check_writable(keyring)
    key = PrivateKey.generate(tuple(sorted(set(_ROLES.value))))
    try:
        key.write_new(path)
    except FileExistsError as e:
        raise KeyFileError(
            path,
            "a path that does not exist",
            "an existing file",
            "choose another name",
        ) from e
    keys = [*trusted.keys.values(), key.trusted]
    extended = TrustedKeys.from_keys(
        *keys, allow_development=False, thresholds=trusted.thresholds
    )
    durable_file.write(keyring, extended.encode())
    command_line.say(f"keyid    {key.keyid}")
    command_line.say(f"key      {path} (private, mode 0600)")
    command_line.say(f"keyring  {keyring}")


if __name__ == "__main__":
    command_line.run(main)
