"""Makes time-ordered ids (UUID version 7, RFC 9562) from a time and random bytes."""

import uuid

_RANDOM_SIZE_BYTES = 10


def uuid7(unix_ms: int, random_bytes: bytes) -> str:
    """Returns a UUID of version 7 in its lower-case text form.

    Args:
        unix_ms: milliseconds since 1970-01-01T00:00:00Z.
        random_bytes: 10 bytes; the id uses 74 of their 80 bits.

    Raises:
        ValueError: the time does not fit 48 bits, or there are not 10 bytes.
    """
    if not 0 <= unix_ms < 1 << 48:
        raise ValueError(f"unix_ms: expected 48 bits, got {unix_ms}")
    if len(random_bytes) != _RANDOM_SIZE_BYTES:
        raise ValueError(
            f"random_bytes: expected {_RANDOM_SIZE_BYTES}, got {len(random_bytes)}"
        )
    random = int.from_bytes(random_bytes)
    value = unix_ms << 80
    value |= 7 << 76 | (random >> 68) << 64
    value |= 0b10 << 62 | random & ((1 << 62) - 1)
    return str(uuid.UUID(int=value))


def unix_ms(text: str) -> int:
    """Returns the time of an id that `uuid7` made, in milliseconds.

    Raises:
        ValueError: `text` is not a UUID of version 7 in lower-case text form.
    """
    value = uuid.UUID(text)
    if value.version != 7 or str(value) != text:
        raise ValueError(f"expected a lower-case UUID of version 7, got {text!r}")
    return value.int >> 80
