"""A child of a masker that fails as the variable MASK_WORKER says, for tests.

`hang`, `die` and `lie` happen at a picture that holds `bad`; `no-start` at once. Other
pictures have no faces, but for those that hold `face`, which have one, and those that
hold `crowd`, which have too many.
"""

import os
import sys
import time

from edge.redact import mask_messages
from edge.redact.mask_messages import LOOK, Header

SIZE = (40, 30)
FACE = (10.0, 5.0, 20.0, 15.0, 0.9)
MASKED = b"masked "


def main() -> None:
    """Answers until its input ends, or until it fails."""
    how = os.environ.get("MASK_WORKER", "")
    if how == "no-start":
        _say({"fault": "no weights"})
        return
    _say({"ready": True})
    while (message := mask_messages.read(sys.stdin.buffer)) is not None:
        header, image = message
        if b"bad" in image:
            _fail(how)
        elif header["do"] == LOOK:
            count = 1000 if b"crowd" in image else int(b"face" in image)
            faces = {turn: [FACE] * count for turn, _ in header["looks"]}
            _say({"size": SIZE, "faces": faces, "lines": []})
        else:
            _say({}, MASKED + image if header["areas"] else image)


def _fail(how: str) -> None:
    if how == "hang":
        time.sleep(600)
    if how == "die":
        os.abort()
    if how == "lie":
        sys.stdout.buffer.write(b"\xff" * 64)
        sys.stdout.buffer.flush()
    _say({"fault": "it cannot be decoded"})


def _say(header: Header, image: bytes = b"") -> None:
    sys.stdout.buffer.write(mask_messages.encode(header, image))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
