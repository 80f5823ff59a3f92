"""A microphone is listened to in its own thread, and nobody waits for it."""

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pytest

from edge.robots.clock import SimulatedClock
from edge.robots.microphone import MicrophoneThread
from edge.robots.robot import Microphone

MICROPHONE = Microphone(20.0, bands=8)
RATE = 16_000
LIMIT_S = 20.0


class Source:
    """A microphone that does what a test says, piece after piece."""

    rate = RATE

    def __init__(self, clock: SimulatedClock) -> None:
        self.clock = clock
        self.opened = self.closed = 0
        self.next: list[npt.NDArray[np.float32] | Exception] = []
        self.more = threading.Semaphore(0)
        self.missing = False

    def send(self, *found: npt.NDArray[np.float32] | Exception) -> None:
        self.next += found
        for _ in found:
            self.more.release()

    def open(self) -> None:
        self.opened += 1
        if self.missing:
            raise OSError("no such device")

    def take(self) -> npt.NDArray[np.float32]:
        self.more.acquire()
        found = self.next.pop(0)
        if isinstance(found, Exception):
            raise found
        self.clock.advance(len(found) * 1_000_000_000 // RATE)
        return found

    def close(self) -> None:
        self.closed += 1


def make_piece(loudness: float, seconds: float = 0.1) -> npt.NDArray[np.float32]:
    random = np.random.default_rng(round(1000 * loudness))
    noise = random.uniform(-1, 1, round(RATE * seconds)) * loudness
    return noise.astype(np.float32)


def wait_for(holds: Callable[[], object]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.001)


@pytest.fixture
def source() -> Iterator[Source]:
    made = Source(SimulatedClock(0))
    yield made
    made.send(OSError("the test is over"))


def start(source: Source, told: list[str]) -> MicrophoneThread:
    return MicrophoneThread(MICROPHONE, source, source.clock, told.append, 0.01)


def hear_total(microphone: MicrophoneThread) -> float:
    sound = microphone.hear(0)
    return 0.0 if sound is None else float(np.exp(sound.powers).sum())


def test_newest_sound_stays_until_the_next_one_comes(source: Source) -> None:
    told: list[str] = []
    microphone = start(source, told)
    assert microphone.hear(0) is None
    assert not microphone.wait(0.01)
    source.send(make_piece(0.1))
    assert microphone.wait(LIMIT_S)
    first = microphone.hear(0)
    assert first is not None and first.powers.shape == (8,)
    # 62.5 ms of the 100 ms are in the first value.
    assert first.t_monotonic_ns == 62_500_000
    source.send(make_piece(0.5), make_piece(0.5))
    wait_for(lambda: hear_total(microphone) > 0.02)
    assert (told, microphone.trouble) == ([], "")
    source.send(OSError("end"))
    microphone.close()


def test_microphone_that_fails_is_told_of_once_and_opened_again(
    source: Source,
) -> None:
    told: list[str] = []
    microphone = start(source, told)
    source.send(make_piece(0.1), OSError("it was\nunplugged after 17 bytes"))
    wait_for(lambda: microphone.trouble)
    before = microphone.hear(0)
    source.missing = True
    wait_for(lambda: source.opened > 5)
    assert microphone.hear(0) is before is not None
    source.missing = False
    source.send(make_piece(0.5), OSError("it was unplugged after 4 bytes"))
    wait_for(lambda: microphone.hear(0) is not before)
    wait_for(lambda: "4 bytes" in microphone.trouble)
    assert [line.partition(";")[0] for line in told] == [
        "microphone: it was unplugged after 17 bytes",
        "microphone: no such device",
        "microphone: it was unplugged after 4 bytes",
    ]
    assert source.closed >= 5
    source.send(OSError("end"))
    microphone.close()


@pytest.mark.parametrize("share", [3.0, 0.3])
def test_samples_of_another_rate_are_refused(source: Source, share: float) -> None:
    told: list[str] = []

    def take() -> npt.NDArray[np.float32]:
        time.sleep(0.001)
        source.clock.advance(round(100_000_000 / share))
        return make_piece(0.1)

    source.take = take  # type: ignore[method-assign]
    microphone = start(source, told)
    wait_for(lambda: told)
    expected = f"expected 16000 samples per second, got {round(RATE * share)}"
    assert expected in told[0]
    assert "alsa:plughw:1,0" in told[0]
    microphone.close()
    assert len(told) == 1


def test_microphone_whose_driver_hangs_does_not_keep_the_robot_from_closing(
    source: Source,
) -> None:
    microphone = start(source, [])
    begin_s = time.monotonic()
    microphone.close()
    assert time.monotonic() - begin_s < LIMIT_S
