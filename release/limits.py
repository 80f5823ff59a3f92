"""How much outside data is read before anything about it is known."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Upper bounds; data beyond one of them is an error, never truncated.

    Attributes:
        manifest_bytes: package.json. A pi5-cpu package needs about 10 KiB; 1 MiB
            leaves room for training configs and metrics of large runs.
        envelope_bytes: one DSSE envelope. Base64 adds a third to a statement that
            repeats the manifest's metadata.
        channel_bytes: one channel envelope. A few targets of 300 bytes each.
        keyring_bytes: one keyring. 200 bytes a key.
        key_file_bytes: one private key file.
        signatures: signatures in one envelope. Bounds the work before trust; no
            role has that many key holders.
        keys: keys in one keyring.
        files: files in one package. A package has about a dozen.
        path_chars: length of one path. Fits the name field of a tar header.
        path_depth: folders in one path plus the name.
        package_bytes: all files of a package and its tar. Fits the memory of a
            Raspberry Pi 5 with 4 GB beside everything else.
    """

    manifest_bytes: int = 1 * MIB
    envelope_bytes: int = 2 * MIB
    channel_bytes: int = 256 * KIB
    keyring_bytes: int = 256 * KIB
    key_file_bytes: int = 16 * KIB
    signatures: int = 32
    keys: int = 256
    files: int = 1024
    path_chars: int = 99
    path_depth: int = 6
    package_bytes: int = 2048 * MIB


LIMITS = Limits()
