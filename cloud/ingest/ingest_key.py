"""The key of ingest: it signs verdicts and claims, and nobody else has it.

On one machine the key is made on first use, and the programs that read verdicts find
its public half where ingest left it. A fleet's ingest brings a key of its own, made by

    ./bazelw run //release:generate_key -- \\
        --key_file=KEY --keyring=PUBLIC --role=admission
"""

from pathlib import Path

from cloud.errors import IngestKeyError
from release.signing import private_keys
from release.signing.private_keys import PrivateKey, TrustedKeys
from release.trusted_keys import ADMISSION_ROLE

KEY_FILE = "~/.local/share/continuon/keys/ingest_key.json"
PUBLIC_FILE = "~/.local/share/continuon/keys/ingest_key.public.json"
"""Where `open_key` leaves the public half of `KEY_FILE`."""

_MAKE = "make one with //release:generate_key --role=admission"


def open_key(location: str) -> PrivateKey:
    """Returns the private key of a file; where there is none, makes one.

    The public half of a key that is made lies beside it, as `<name>.public.json`.

    Raises:
        KeyFileError: the file is not a private key that belongs to the caller.
        IngestKeyError: the key is for other things than verdicts.
        DiskError, OSError: the key cannot be made.
    """
    path = Path(location).expanduser()
    public = path.with_name(f"{path.stem}.public.json")
    key = private_keys.open_or_make(path, public, (ADMISSION_ROLE,))
    if ADMISSION_ROLE not in key.roles:
        raise IngestKeyError(
            path, f"a key of role {ADMISSION_ROLE}", f"roles {key.roles}", _MAKE
        )
    return key


def read_trusted(location: str) -> TrustedKeys:
    """Reads the keyring of the keys whose verdicts count.

    Raises:
        IngestKeyError: the keyring is missing, or holds no key of this role.
        MalformedError, OversizedError, DuplicateNameError: it is no keyring.
        OSError: it cannot be read.
    """
    path = Path(location).expanduser()
    if not path.is_file():
        raise IngestKeyError(
            path,
            "the public key of the ingest that judged these episodes",
            "no such file",
            "run //cloud:ingest on this machine first, or name the keyring in "
            "--ingest_public",
        )
    # Made for this, whether on one machine or with care: the caller named the file.
    trusted = TrustedKeys.read(path, allow_development=True)
    if not trusted.keys_for_role(ADMISSION_ROLE):
        raise IngestKeyError(
            path, f"a key of role {ADMISSION_ROLE}", "none in this keyring", _MAKE
        )
    return trusted


def trust(key: PrivateKey, earlier: TrustedKeys | None = None) -> TrustedKeys:
    """Returns a keyring of this key and of keys whose earlier records still count."""
    others = () if earlier is None else tuple(earlier.keys.values())
    return TrustedKeys.from_keys(*others, key.trusted, allow_development=True)
