"""Words are found in the samples of a voice, and not in what leaves a robot."""

import json

import pytest

from tests.benchmarks import commands
from tests.benchmarks.speech import WORDS, count_right


@pytest.mark.long
def test_recogniser_finds_words_in_samples_and_none_in_what_leaves() -> None:
    done = commands.run("speech.py", "--sentences=2")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["words"] == 12
    assert found["of"] == len(WORDS)
    assert found["samples"]["right"] >= 7
    # What is made again is speech, so that nothing is lost by the way it is made.
    assert found["40 bands, 80 per second"]["right"] >= 7
    assert found["leaves a robot"]["right"] <= 2
    assert found["noise"]["right"] <= 1
    alone = found["alone"]
    assert alone["words"] == 3 * len(WORDS)
    # One in forty is chance; finer sound tells who knows the voice most of the words.
    assert alone["leaves a robot"] <= 0.2 * alone["words"]
    assert alone["8 bands, 2 per second, steps of 0.5"] > 0.5 * alone["words"]


@pytest.mark.parametrize(
    ("said", "heard", "right"),
    [
        ("a b c", "a b c", 3),
        ("a b c", "", 0),
        ("a b c", "x a c", 2),
        ("a b c", "c b a", 1),
        ("a a b", "a b", 2),
    ],
)
def test_words_count_in_their_places(said: str, heard: str, right: int) -> None:
    assert count_right(said.split(), heard.split()) == right
