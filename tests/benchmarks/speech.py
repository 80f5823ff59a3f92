"""Measures how many words are found in sound, and in what is left of it.

    ./bazelw run //tests/benchmarks:speech

A synthetic voice (eSpeak NG) says sentences of six words, drawn from 40. PocketSphinx,
which is told that there are these and no others, hears the samples; then samples that
are made again (`voice_again.py`) from what a recogniser is usually given, from what a
robot with a microphone keeps to itself, and from what leaves it; and noise. Then words
are said alone, and guessed from what leaves by whoever knows the list and the voice
(`word_guess.py`), beside a finer form that is not coarse enough. Prints one JSON line.
"""

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import functools
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from absl import flags

from base import command_line
from rlds import coarse_sound
from rlds.spec import SOUND_BANDS, SOUND_HOLD_NS, SOUND_STEP
from tests.benchmarks import speaking, voice_again, word_guess
from tests.benchmarks.speaking import RATE, Samples

_SENTENCES = flags.DEFINE_integer("sentences", 40, "sentences to say", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 1, "seed of the words", lower_bound=0)

_WORDS = """
    angry baby beautiful birthday church close dinner divorce doctor door evening father
    garden grandmother hospital hungry husband kitchen lawyer letter medicine monday
    money morning mother number open password police pregnant school secret table
    telephone tired tomorrow visit water window yesterday
"""
WORDS: Final = tuple(_WORDS.split())
_PER_SENTENCE: Final = 6
_LOUDNESS: Final = 0.6
_HOLD_S: Final = SOUND_HOLD_NS / 1e9
_HZ: Final = 20.0  # values per second of a robot's microphone


def main(argv: list[str]) -> None:
    """Says the sentences, hears each in each form, and prints the figures."""
    del argv
    random = np.random.default_rng(_SEED.value)
    decoder = _open_decoder()
    found = {name: [0, 0] for name in FORMS}
    for _ in range(_SENTENCES.value):
        words = list(random.choice(WORDS, _PER_SENTENCE))
        samples = speaking.say(" ".join(words))
        for name, transform in FORMS.items():
            heard = _hear(decoder, transform(samples))
            found[name][0] += count_right(words, heard)
            found[name][1] += len(heard)
    total = _PER_SENTENCE * _SENTENCES.value
    figures = {
        name: {"right": right, "share": round(right / total, 3), "said": said}
        for name, (right, said) in found.items()
    }
    guess = functools.partial(word_guess.count_guessed, WORDS)
    alone = {
        "words": len(word_guess.VOICES) * len(WORDS),
        "leaves a robot": guess(SOUND_BANDS, _HOLD_S, SOUND_STEP),
        "8 bands, 2 per second, steps of 0.5": guess(8, 0.5, 0.5),
    }
    command_line.say(
        json.dumps({"words": total, "of": len(WORDS), **figures, "alone": alone})
    )


def _remake(hz: float, bands: int, samples: Samples) -> Samples:
    powers = voice_again.measure(samples, RATE, hz, bands)
    return voice_again.speak(powers, hz, RATE, len(samples))


def _remake_what_leaves(samples: Samples) -> Samples:
    powers = voice_again.measure(samples, RATE, _HZ, SOUND_BANDS)
    times_ns = np.arange(len(powers)) * round(1e9 / _HZ)
    coarse = coarse_sound.coarsen(powers.astype(np.float32), times_ns)
    return voice_again.speak(coarse, _HZ, RATE, len(samples))


def _make_noise(samples: Samples) -> Samples:
    noise = np.random.default_rng(0).normal(0.0, 0.1, len(samples))
    return noise.astype(np.float32)


FORMS: Final[Mapping[str, Callable[[Samples], Samples]]] = {
    "samples": lambda samples: samples,
    "40 bands, 80 per second": functools.partial(_remake, 80.0, 40),
    "kept by a robot": functools.partial(_remake, _HZ, SOUND_BANDS),
    "leaves a robot": _remake_what_leaves,
    "noise": _make_noise,
}


def _open_decoder() -> Any:  # noqa: ANN401 - it has no types
    """A recogniser that knows which words there are, in any order."""
    library: Any = importlib.import_module("pocketsphinx")
    decoder = library.Decoder(samprate=RATE, lm=None, loglevel="FATAL")
    words = " | ".join(WORDS)
    grammar = f"#JSGF V1.0; grammar words; public <said> = ({words})+;"
    decoder.add_jsgf_string("words", grammar)
    decoder.activate_search("words")
    return decoder


def _hear(decoder: Any, samples: Samples) -> Sequence[str]:  # noqa: ANN401 - no types
    scaled = samples * (_LOUDNESS / max(1e-6, float(np.abs(samples).max())))
    decoder.start_utt()
    decoder.process_raw((scaled * 32_767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return found.hypstr.split() if found else []


def count_right(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words that stand in their place, in the alignment with the fewest errors."""
    # Errors, and minus the words that are right, of each pair of beginnings.
    best: npt.NDArray[Any] = np.zeros((len(said) + 1, len(heard) + 1, 2), int)
    best[:, 0, 0], best[0, :, 0] = range(len(said) + 1), range(len(heard) + 1)
    for i, word in enumerate(said):
        for j, other in enumerate(heard):
            is_right = word == other
            best[i + 1, j + 1] = min(
                (best[i, j] + (0, -1) if is_right else best[i, j] + (1, 0)).tolist(),
                (best[i, j + 1] + (1, 0)).tolist(),
                (best[i + 1, j] + (1, 0)).tolist(),
            )
    return -int(best[-1, -1, 1])


if __name__ == "__main__":
    command_line.run(main)
