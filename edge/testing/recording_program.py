"""Stands in for `arecord` where there is no microphone: a child that writes samples.

    recording_program.py WAV [SECONDS] [end | hang | SPEED]

It writes the samples of a WAV file to its standard output in time, again and again. At
SECONDS it says so and ends, or hangs, or writes as many samples as at another rate. It
is a program of its own, so it imports nothing of ours.
"""

import sys
import time
import wave

_PIECE_S = 0.025


def main(path: str, seconds: str = "1e9", then: str = "end") -> None:
    """Writes until it is killed, or until `seconds`."""
    end_s = float(seconds)
    with wave.open(path) as file:
        rate, raw = file.getframerate(), file.readframes(file.getnframes())
    size_bytes = 2 * round(rate * _PIECE_S)
    begin_s, at = time.monotonic(), 0
    while True:
        passed_s = time.monotonic() - begin_s
        if passed_s >= end_s:
            if then == "hang":
                time.sleep(1000.0)
            if then == "end":
                sys.stderr.write("first line\nread error: No such device\n")
                return
        speed = float(then) if then not in ("end", "hang") else 1.0
        for _ in range(round(speed)):
            piece = (raw[at:] + raw)[:size_bytes]
            at = (at + size_bytes) % len(raw)
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        time.sleep(_PIECE_S)


if __name__ == "__main__":
    main(*sys.argv[1:])
