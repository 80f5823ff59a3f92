"""What `--microphone` names can be heard, or is refused in one line."""

import dataclasses
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.errors import MicrophoneError
from edge.robots import microphone_drivers
from edge.robots.clock import NS_PER_S, MonotonicClock, SimulatedClock
from edge.robots.log_mel import LogMel
from edge.robots.microphone import MicrophoneThread
from edge.robots.microphone_drivers import PlayedFile, RecordingProgram, parse
from edge.robots.robot import Microphone, Sound
from edge.robots.simulated_point import SPEC
from edge.testing import recording_program
from edge.testing.sounds import make_noise, make_tone, write_wav

MICROPHONE = Microphone(20.0, bands=8)
LIMIT_S = 30.0


def wait_for(holds: Callable[[], object]) -> None:
    until_s = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < until_s
        time.sleep(0.001)


@pytest.mark.parametrize("text", ["", "mic", "alsa:", "alsa:two words", "a.mp3"])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(MicrophoneError, match=r"expected alsa, alsa:DEVICE such as"):
        parse(text)


def test_microphone_of_a_machine_without_alsa_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MicrophoneError, match=r"arecord.*apt install alsa-utils"):
        parse("alsa:plughw:1,0")


@pytest.mark.parametrize(
    ("control_hz", "hz"), [(100.0, 20.0), (20.0, 20.0), (12.5, 80 / 6), (1.0, 2.0)]
)
def test_robot_hears_a_value_for_each_step_but_no_more_than_twenty(
    control_hz: float, hz: float
) -> None:
    spec = dataclasses.replace(SPEC, control_hz=control_hz)
    assert microphone_drivers.add_to(spec) == Microphone(hz)
    hearing = dataclasses.replace(spec, microphone=Microphone(5.0))
    with pytest.raises(MicrophoneError, match="without a microphone of its own"):
        microphone_drivers.add_to(hearing)


def play(path: Path, times_ns: list[int]) -> list[Sound]:
    ear = parse(str(path)).open(MICROPHONE, SimulatedClock(0), print)
    ear.begin(times_ns[0])
    found = [ear.hear(now_ns) for now_ns in times_ns]
    assert all(one is not None for one in found)
    return [one for one in found if one is not None]


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize(("period_ms", "values"), [(10, 41), (50, 40), (200, 10)])
def test_file_is_heard_in_time(
    tmp_path: Path, rate: int, period_ms: int, values: int
) -> None:
    samples = make_noise(rate, 3.0)
    path = write_wav(tmp_path / "a.wav", samples, rate)
    start_ns = 7 * NS_PER_S
    times_ns = list(range(start_ns, start_ns + 2 * NS_PER_S, period_ms * 1_000_000))
    found = play(path, times_ns)
    whole = [value for value, _ in LogMel(rate, 20.0, 8).add(samples)]
    for now_ns, sound in zip(times_ns, found, strict=True):
        age_ns = now_ns - sound.t_monotonic_ns
        assert 0 <= age_ns < MICROPHONE.period_ns
        # The file began two values before the episode; a window lasts one hop more.
        since_ns = sound.t_monotonic_ns - start_ns + 2 * MICROPHONE.period_ns
        number = round((since_ns - 12_500_000) / MICROPHONE.period_ns) - 1
        np.testing.assert_allclose(sound.powers, whole[number], atol=1e-2)
    assert len({one.t_monotonic_ns for one in found}) == values
    again = play(path, times_ns)
    assert [one.powers.tobytes() for one in again] == [
        one.powers.tobytes() for one in found
    ]


def test_file_begins_again_at_its_end_and_with_each_episode(tmp_path: Path) -> None:
    tone = make_tone(16_000, 440.0, 1.0)
    samples = np.concatenate((tone, np.zeros_like(tone)))
    ear = PlayedFile(samples, 16_000, MICROPHONE)
    loud = []
    for begin_ns in (0, 50 * NS_PER_S):
        ear.begin(begin_ns)
        for at_ms in (500, 1500, 2500, 3500):
            for now_ms in range(at_ms - 300, at_ms + 1, 50):
                sound = ear.hear(begin_ns + now_ms * 1_000_000)
            assert sound is not None
            loud.append(bool(sound.powers.max() > -5))
    assert loud == 2 * [True, False, True, False]


def test_file_is_not_computed_again_for_who_did_not_listen_for_an_hour() -> None:
    ear = PlayedFile(make_noise(16_000, 3.0), 16_000, MICROPHONE)
    ear.begin(0)
    begin_s = time.process_time()
    sound = ear.hear(3600 * NS_PER_S)
    assert time.process_time() - begin_s < 1.0
    assert sound is not None
    assert 0 <= 3600 * NS_PER_S - sound.t_monotonic_ns < MICROPHONE.period_ns


# What a child gives in the place of `arecord`.


def start(path: Path, told: list[str], *arguments: str) -> MicrophoneThread:
    command = (sys.executable, recording_program.__file__, str(path), *arguments)
    source = RecordingProgram(command)
    return MicrophoneThread(MICROPHONE, source, MonotonicClock(), told.append, 0.2)


def list_children() -> set[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {pid for task in tasks for pid in task.read_text().split()}


def test_child_is_heard_and_ended_with_the_robot(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", make_tone(16_000, 1000.0, 1.0), 16_000)
    told: list[str] = []
    before = list_children()
    microphone = start(path, told)
    assert microphone.wait(LIMIT_S)
    sound = microphone.hear(0)
    assert sound is not None
    assert np.exp(sound.powers).sum() == pytest.approx(0.125, rel=0.05)
    assert abs(time.monotonic_ns() - sound.t_monotonic_ns) < LIMIT_S * NS_PER_S
    assert len(list_children() - before) == 1
    microphone.close()
    assert list_children() == before
    assert told == []


def test_child_that_ends_in_the_middle_is_told_of_with_its_last_words(
    tmp_path: Path,
) -> None:
    path = write_wav(tmp_path / "a.wav", make_tone(16_000, 1000.0, 1.0), 16_000)
    told: list[str] = []
    microphone = start(path, told, "0.3", "end")
    assert microphone.wait(LIMIT_S)
    wait_for(lambda: told)
    first = microphone.hear(0)
    # It is opened again, and heard.
    wait_for(lambda: microphone.hear(0) is not first)
    microphone.close()
    assert len(told) == 1
    assert "expected samples, got its end: read error: No such device" in told[0]
    assert told[0].endswith("it is opened again each 0.2 s")


def test_child_whose_bytes_stop_is_told_of(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", make_tone(16_000, 1000.0, 1.0), 16_000)
    told: list[str] = []
    before = list_children()
    microphone = start(path, told, "0.3", "hang")
    wait_for(lambda: told)
    assert "expected samples, got none for 1 s" in told[0]
    microphone.close()
    assert list_children() == before


def test_child_that_gives_three_times_as_many_samples_is_told_of(
    tmp_path: Path,
) -> None:
    path = write_wav(tmp_path / "a.wav", make_tone(16_000, 1000.0, 1.0), 16_000)
    told: list[str] = []
    microphone = start(path, told, "0", "3")
    wait_for(lambda: told)
    microphone.close()
    assert "expected 16000 samples per second, got 4" in told[0]


def test_program_that_is_not_there_is_told_of() -> None:
    told: list[str] = []
    source = RecordingProgram(["/nowhere/arecord"])
    microphone = MicrophoneThread(MICROPHONE, source, MonotonicClock(), told.append)
    wait_for(lambda: told)
    microphone.close()
    assert "No such file or directory: '/nowhere/arecord'" in told[0]


def test_device_and_form_of_samples_are_handed_to_arecord(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "arecord"
    said = tmp_path / "said"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > {said}\nexit 1\n')
    program.chmod(0o700)
    shell = shutil.which("sh")
    assert shell is not None
    monkeypatch.setenv("PATH", f"{tmp_path}:{Path(shell).parent}")
    told: list[str] = []
    ear = parse("alsa:plughw:CARD=Mic,DEV=0").open(
        MICROPHONE, MonotonicClock(), told.append
    )
    wait_for(lambda: told)
    ear.close()
    assert said.read_text().split() == [
        *("--quiet", "--device=plughw:CARD=Mic,DEV=0", "--file-type=raw"),
        *("--format=S16_LE", "--channels=1", "--rate=16000"),
        *("--period-time=25000", "--buffer-time=250000"),
    ]
