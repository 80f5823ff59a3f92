"""The microphones that `--microphone` names: of this machine, or a file.

    alsa              the machine's own microphone; alsa:plughw:1,0 for another one
    PATH.wav          a recording, from its beginning in each episode, again and again

A live microphone is read through `arecord` of alsa-utils, which every Raspberry Pi OS
has: a child that writes samples into a pipe needs no library beside ours and no root,
and a driver that hangs or crashes does so in the child. What it opens by `alsa` or
`plughw` converts rate, channels and format. `arecord --list-devices` lists devices.

A file is played by the robot's clock, so that a simulated robot hears the same in each
episode of the same seed, at any pace.
"""

import contextlib
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from base.errors import one_line
from edge.errors import MicrophoneError
from edge.robots import wav_file
from edge.robots.clock import NS_PER_S, Clock
from edge.robots.log_mel import HOPS_HZ, LogMel
from edge.robots.microphone import Ear, MicrophoneThread
from edge.robots.robot import LOWEST_SOUND_HZ, Microphone, RobotSpec, Sound

FLAG: Final = "--microphone"
HZ: Final = 20.0
"""Values per second, or one for each control step if those are fewer."""
RATE: Final = 16_000
HELP: Final = (
    "alsa, alsa:DEVICE such as alsa:plughw:1,0, or the PATH.wav of a recording that is"
    " played in each episode"
)
FIRST_SOUND_S: Final = 5.0
"""How long a robot waits for its microphone when it is opened."""
_ALSA: Final = re.compile(r"alsa(?::(\S+))?")
_SILENCE_S: Final = 1.0  # without samples: then something else is wrong
_READ_BYTES: Final = 64 * 1024
_SAID_BYTES: Final = 2000
_FULL_SCALE: Final = np.float32(1 << 15)

type Open = Callable[[Microphone, Clock, Callable[[str], None]], Ear]


@dataclass(frozen=True)
class NamedMicrophone:
    """A microphone that somebody named.

    Attributes:
        open: begins to listen; its arguments are what to hear, the robot's clock, and
            what gets a line if it cannot.
    """

    open: Open


def parse(text: str) -> NamedMicrophone:
    """Reads what `--microphone` says; a file is read too.

    Raises:
        MicrophoneError: it has another form, what it needs is not installed, or the
            file cannot be heard.
    """
    if matched := _ALSA.fullmatch(text):
        program = shutil.which("arecord")
        if program is None:
            raise MicrophoneError(
                FLAG,
                "the program arecord",
                "none on the PATH",
                "apt install alsa-utils",
            )
        command = _list_arguments(program, matched[1] or "default")
        return NamedMicrophone(lambda *given: _listen(command, *given))
    if not text.endswith(".wav"):
        raise MicrophoneError(FLAG, HELP, repr(text))
    try:
        samples, rate = wav_file.read(Path(text).expanduser())
    except MicrophoneError as e:  # what a flag names is wrong usage
        raise MicrophoneError(FLAG, e.expected, f"{e.got} in {text}", e.remedy) from e
    return NamedMicrophone(
        lambda microphone, clock, tell: PlayedFile(samples, rate, microphone)
    )


def add_to(spec: RobotSpec) -> Microphone:
    """The microphone of a robot that has none of its own.

    Raises:
        MicrophoneError: it has one.
    """
    if spec.microphone is not None:
        raise MicrophoneError(
            FLAG,
            "a robot without a microphone of its own",
            spec.robot_model,
            "leave the flag out",
        )
    hz = max(LOWEST_SOUND_HZ, min(HZ, spec.control_hz))
    hops = round(HOPS_HZ / hz)
    return Microphone(HOPS_HZ / hops)


def _list_arguments(program: str, device: str) -> tuple[str, ...]:
    return (
        *(program, "--quiet", f"--device={device}"),
        *("--file-type=raw", "--format=S16_LE", "--channels=1", f"--rate={RATE}"),
        # In microseconds. Without these it hands over an eighth of a second at once.
        *("--period-time=25000", "--buffer-time=250000"),
    )


def _listen(
    command: Sequence[str],
    microphone: Microphone,
    clock: Clock,
    tell: Callable[[str], None],
) -> MicrophoneThread:
    thread = MicrophoneThread(microphone, RecordingProgram(command), clock, tell)
    if not thread.wait(FIRST_SOUND_S) and not thread.trouble:
        tell(f"microphone: no sound in {FIRST_SOUND_S:g} s; the robot goes on without")
    return thread


class RecordingProgram:
    """A live microphone, read by a child process that writes raw samples."""

    rate = RATE

    def __init__(self, command: Sequence[str]) -> None:
        """Starts nothing yet.

        Args:
            command: of a program that writes 16-bit samples of one channel, `RATE` per
                second, to its standard output.
        """
        self._command = command
        self._child: subprocess.Popen[bytes] | None = None
        self._odd = b""  # the first half of a sample
        self._said = b""

    def open(self) -> None:
        """See `SampleSource.open`."""
        self._odd = self._said = b""
        self._child = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,  # Ctrl-C at a terminal is for the robot
        )

    def take(self) -> npt.NDArray[np.float32]:
        """See `SampleSource.take`."""
        child = self._child
        assert child is not None and child.stdout and child.stderr  # it is open
        streams = [child.stdout, child.stderr]
        until_s = time.monotonic() + _SILENCE_S
        while (left_s := until_s - time.monotonic()) > 0:
            ready = select.select(streams, [], [], left_s)[0]
            if child.stderr in ready:
                said = os.read(child.stderr.fileno(), _SAID_BYTES)
                self._said = (self._said + said)[-_SAID_BYTES:]
                if not said:
                    streams.remove(child.stderr)
            if child.stdout in ready:
                raw = self._odd + os.read(child.stdout.fileno(), _READ_BYTES)
                if len(raw) == len(self._odd):
                    raise self._fault(f"its end{self._tell()}")
                whole = len(raw) - len(raw) % 2
                self._odd = raw[whole:]
                found = np.frombuffer(raw[:whole], "<i2").astype(np.float32)
                return found / _FULL_SCALE
        raise self._fault(f"none for {_SILENCE_S:g} s{self._tell()}")

    def close(self) -> None:
        """See `SampleSource.close`."""
        child, self._child = self._child, None
        if child is None:
            return
        with child:
            child.kill()

    def _fault(self, got: str) -> MicrophoneError:
        program = Path(self._command[0]).name
        remedy = "look at its cable, and at what `arecord --list-devices` lists"
        return MicrophoneError(program, "samples", got, remedy)

    def _tell(self) -> str:
        """What the program said last, as far as it has come."""
        assert self._child is not None and self._child.stderr is not None
        os.set_blocking(self._child.stderr.fileno(), False)
        with contextlib.suppress(OSError):
            self._said += os.read(self._child.stderr.fileno(), _SAID_BYTES)
        lines = self._said.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "")
        return f": {one_line(last)}" if last else ""


class PlayedFile:
    """A recording that is played to a robot, by the robot's clock; an `Ear`."""

    def __init__(
        self, samples: npt.NDArray[np.float32], rate: int, microphone: Microphone
    ) -> None:
        """Holds the samples [n] of a file."""
        self._samples = samples
        self._rate = rate
        self._microphone = microphone
        self._log_mel: LogMel | None = None
        self._start_ns = 0
        self._played = 0
        self._newest: Sound | None = None

    def begin(self, now_ns: int) -> None:
        """See `Ear.begin`; the first sound of the file has just been heard."""
        wanted = self._microphone
        self._log_mel = LogMel(self._rate, wanted.hz, wanted.bands)
        self._start_ns = now_ns - 2 * wanted.period_ns
        self._played, self._newest = 0, None

    def hear(self, now_ns: int) -> Sound | None:
        """See `Ear.hear`."""
        if self._log_mel is None:
            self.begin(now_ns)
        assert self._log_mel is not None
        due = (now_ns - self._start_ns) * self._rate // NS_PER_S
        # Who has not listened for a second has not heard what was before.
        self._played = max(self._played, due - self._rate)
        places = np.arange(self._played, due) % len(self._samples)
        for powers, behind in self._log_mel.add(self._samples[places]):
            heard = (due - behind) * NS_PER_S // self._rate
            self._newest = Sound(powers, self._start_ns + heard)
        self._played = max(self._played, due)
        return self._newest

    def close(self) -> None:
        """See `Ear.close`."""
