"""Upper bounds on outside data that is read before it can be trusted."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True)
class Limits:
    """Upper bounds; data beyond a bound is an error and is never truncated.

    Attributes:
        manifest_bytes: one package.json. A pi5-cpu package needs about 10 KiB; 1 MiB
            leaves room for the training config and metrics of a large run.
        envelope_bytes: one DSSE envelope. Base64 adds a third to a statement that
            repeats the manifest's metadata.
        evaluation_bytes: one evaluation report. A row per task takes about 1 KiB.
        channel_bytes: one channel envelope. It has a few targets of 300 bytes each.
        keyring_bytes: one keyring. A key takes 200 bytes.
        key_file_bytes: one private key file.
        signatures: signatures in one envelope. Bounds the work before anything is
            trusted; no role has that many key holders.
        keys: keys in one keyring.
        files: files in one package. A package has about a dozen.
        path_chars: characters in one path. Fits the name field of a tar header.
        path_depth: segments of one path: its folders and the file name.
        package_bytes: all files of a package, and its tar. Fits into the memory of a
            Raspberry Pi 5 with 4 GB together with everything else.
    """

    manifest_bytes: int = 1 * MIB
    envelope_bytes: int = 2 * MIB
    evaluation_bytes: int = 1 * MIB
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
