"""Private keys, which no robot imports.

A key file holds one private key and only its owner can read it. A development key is
made once in a folder of the user and stays there; robots refuse its signatures unless
they run with `--allow_development_keys`.
"""

import base64
import contextlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from base import canonical_json, durable_file, plain_file
from base.digest import sha256_bytes, sha256_file
from base.errors import ContinuonError
from base.json_fields import Fields, decode
from base.text_forms import parse_base64
from release import dsse
from release.errors import KeyFileError
from release.limits import LIMITS
from release.trusted_keys import ROLES
from release.trusted_keys import TrustedKey as TrustedKey
from release.trusted_keys import TrustedKeys as TrustedKeys

SCHEMA_VERSION = 1
DEVELOPMENT_KEY_FILE = "development_key.json"
DEVELOPMENT_KEYRING_FILE = "keyring.json"
# A developer trains, blesses and tries packages but does not release them to others.
DEVELOPMENT_ROLES = ("channel:nightly", "blessing", "provenance")


@dataclass(frozen=True)
class PrivateKey:
    """One Ed25519 private key with its intended roles.

    Attributes:
        private: the key; kept out of `repr`.
        roles: what it should sign; the keyring decides what it may sign.
        development: whether robots refuse it by default.
    """

    private: Ed25519PrivateKey = field(repr=False)
    roles: tuple[str, ...]
    development: bool

    @classmethod
    def generate(
        cls, roles: tuple[str, ...] = ROLES, development: bool = False
    ) -> "PrivateKey":
        """Returns a new key from the system's random source."""
        return cls(Ed25519PrivateKey.generate(), roles, development)

    @classmethod
    def read(cls, path: Path) -> "PrivateKey":
        """Reads a key file.

        Raises:
            KeyFileError: the file is missing, a link, not owned by the caller,
                accessible to others, or not a key.
        """
        raw = _read_private(path)
        try:
            keys = ("schema_version", "private", "roles", "development")
            fields = Fields(decode(raw, path, LIMITS.key_file_bytes), path, keys)
            fields.version(SCHEMA_VERSION)
            private = Ed25519PrivateKey.from_private_bytes(
                parse_base64(fields.text("private"), path, "the key")
            )
            return cls(private, fields.texts("roles"), fields.boolean("development"))
        except (ContinuonError, ValueError) as e:
            # The text of the cause is left out, since it could quote the key.
            raise KeyFileError(path, "a private key file", "another file") from e

    @property
    def keyid(self) -> str:
        """The id of the public key."""
        return dsse.compute_keyid(self.private.public_key())

    @property
    def trusted(self) -> TrustedKey:
        """The public key in the form that a keyring holds."""
        return TrustedKey(self.private.public_key(), self.roles, self.development)

    def sign(self, message: bytes) -> bytes:
        """Returns the 64-byte signature of `message`."""
        return self.private.sign(message)

    def write_new(self, path: Path) -> None:
        """Writes a new key file with mode 0600.

        The file appears whole under its name or not at all. If two processes write it
        at once, one of them succeeds.

        Raises:
            FileExistsError: the file exists already; it stays unchanged.
            DiskError: the folder does not exist or cannot be written.
        """
        value = {
            "schema_version": SCHEMA_VERSION,
            "private": base64.b64encode(self.private.private_bytes_raw()).decode(),
            "roles": list(self.roles),
            "development": self.development,
        }
        durable_file.create(path, canonical_json.encode(value), durable_file.PRIVATE)


def open_development_key(folder: Path) -> PrivateKey:
    """Returns the development key of `folder`; the first call makes it.

    The public key is written into the same folder as `keyring.json`, for `--keyring`.

    Raises:
        KeyFileError: the file there is not a private key that belongs to the caller.
    """
    return open_or_make(
        folder / DEVELOPMENT_KEY_FILE,
        folder / DEVELOPMENT_KEYRING_FILE,
        DEVELOPMENT_ROLES,
    )


def open_or_make(path: Path, public: Path, roles: tuple[str, ...]) -> PrivateKey:
    """Returns the key of a file; where there is none, makes a development key.

    Args:
        path: the private key's file.
        public: keyring that a development key is written to, alone. Whoever brings a
            key of their own has a keyring already, and this file stays as it is.
        roles: roles of a new key.

    Raises:
        KeyFileError: the file there is not a private key that belongs to the caller.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not path.exists():
        # Another process may make it between the check and the write.
        with contextlib.suppress(FileExistsError):
            PrivateKey.generate(roles, development=True).write_new(path)
    key = PrivateKey.read(path)
    if not key.development:
        return key
    keyring = TrustedKeys.from_keys(key.trusted, allow_development=True).encode()
    if not public.exists() or sha256_file(public) != sha256_bytes(keyring):
        durable_file.write(public, keyring)
    return key


def _read_private(path: Path) -> bytes:
    try:
        descriptor = plain_file.open_descriptor(path, follow_links=False)
    except OSError as e:
        raise KeyFileError(path, "a readable file", e.strerror or str(e)) from e
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(stream.fileno())
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise KeyFileError(
                path, "a file of mode 0600", f"mode {mode:04o}", f"chmod 600 {path}"
            )
        if status.st_uid != os.geteuid():
            raise KeyFileError(path, "a file owned by the caller", "another owner")
        return stream.read(LIMITS.key_file_bytes + 1)
