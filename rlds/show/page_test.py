"""Tests of the page: whole, safe, small, and true to its episode."""

import base64
import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlds.episode import Episode
from rlds.errors import ShowError
from rlds.show import facts, page
from rlds.show.channel_names import Channel, ChannelNames
from rlds.show.found import Found
from rlds.spec import EpisodeSpec, StopRule
from rlds.testing import episodes

NAMES = ChannelNames()


def show(episode: Episode, **beside: Any) -> str:
    return page.render(Found(Path("a.tfrecord"), None, episode, **beside), NAMES)


def read_data(text: str) -> dict[str, Any]:
    found = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    value: dict[str, Any] = json.loads(found[1])
    return value


def unpack(text: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(base64.b64decode(text), "<f4")


def long_episode(count: int, **changes: Any) -> Episode:
    at = np.arange(count)
    states = np.stack([np.sin(at / 50 + k) for k in range(8)], axis=1)
    steps = episodes.acted(states, states[:, :4])
    return Episode(EpisodeSpec(8, 4), episodes.metadata(**changes), steps)


def test_page_needs_nothing_but_itself() -> None:
    spec = EpisodeSpec(3, 2, image=True, audio_size=4, interventions=True)
    text = show(episodes.episode(spec))
    loaded = re.findall(r"(?:src|href)=\"([^\"]*)\"", text)
    assert loaded and all(one.startswith("data:image/") for one in loaded)
    for word in ("http:", "https:", "//cdn", "@import", "url(", "fetch(", "import("):
        assert word not in text, word
    assert "default-src 'none'" in text


def test_values_marks_and_pictures_are_those_of_the_episode() -> None:
    spec = EpisodeSpec(3, 2, image=True, interventions=True)
    episode = episodes.episode(spec, count=7)
    data = read_data(show(episode))
    state = unpack(data["groups"]["state"]["values"]).reshape(7, 3)
    assert np.array_equal(state, episode.steps["observation/state"])
    proposed = unpack(data["groups"]["proposed"]["values"]).reshape(7, 2)
    assert np.array_equal(proposed, episode.steps["proposed_action"])
    assert base64.b64decode(data["pictures"][0][6]) == episodes.JPEG
    marks = dict(data["marks"])
    assert marks["late"] == [[1, 1], [4, 4]]
    assert marks["stop rule"] == [[2, 2], [6, 6]]
    assert marks["a person acted"] == [[1, 2], [4, 5]]
    assert (data["steps"], data["every"], data["picture_every"]) == (7, 1, 1)


def test_sound_is_a_picture_of_its_bands_with_their_mean_beside_it() -> None:
    episode = episodes.episode(EpisodeSpec(3, 2, audio_size=4), count=7)
    text = show(episode)
    assert "4 bands, the lowest below" in text
    (png,) = re.findall(r'<image href="data:image/png;base64,([^"]+)"', text)
    assert base64.b64decode(png).startswith(b"\x89PNG")
    heard = episode.steps["observation/audio_mel"]
    mean = unpack(read_data(text)["groups"]["sound"]["values"])
    np.testing.assert_allclose(mean, heard.mean(axis=1), rtol=1e-6)
    silent = {**episode.steps, "observation/audio_mel": np.zeros_like(heard)}
    text = show(dataclasses.replace(episode, steps=silent))
    assert "None was heard." in text and "image/png" not in text


def test_pictures_of_each_camera_are_shown_with_their_age() -> None:
    spec = EpisodeSpec(3, 2, cameras=("front", "left_wrist"))
    episode = episodes.episode(spec, count=7)
    ages = episode.steps["image_age_ns_front"].copy()
    ages[2:4] = -1
    steps = {**episode.steps, "image_age_ns_front": ages}
    text = show(dataclasses.replace(episode, steps=steps))
    data = read_data(text)
    assert [len(of_camera) for of_camera in data["pictures"]] == [7, 7]
    shown = re.findall(r'<img class="now" data-camera="(\d)" alt="(\w+)"', text)
    assert shown == [("0", "front"), ("1", "left_wrist")]
    assert "25 ms old; none in 2 steps" in text
    assert "12 ms old; none" not in text


def test_text_of_an_episode_cannot_become_part_of_the_page() -> None:
    evil = "</script><img src=x onerror=alert(1)>\x1b[2J"
    episode = episodes.episode(task=evil, operator=evil, tags=(evil,))
    text = show(episode, note=evil, fault=evil)
    assert "<img" not in text
    assert "\x1b" not in text
    names = ChannelNames("", {"state": [Channel(evil, evil)] * 3})
    assert "<img" not in page.render(Found(Path(evil), None, episode), names)


def test_curves_of_ten_thousand_steps_are_no_larger_than_those_of_a_thousand() -> None:
    def draw(count: int) -> str:
        return re.sub(r"<script.*", "", show(long_episode(count)), flags=re.DOTALL)

    assert len(draw(10_000)) < 1.2 * len(draw(1000))


def test_values_and_pictures_of_a_page_have_a_limit_which_it_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(page, "MOST_VALUES", 100)
    monkeypatch.setattr(page, "MOST_PICTURE_BYTES", 10 * len(episodes.JPEG))
    spec = EpisodeSpec(3, 2, image=True)
    episode = episodes.episode(spec, count=40)
    data = read_data(show(episode))
    assert (data["every"], data["picture_every"]) == (4, 4)
    assert len(data["pictures"][0]) == 10
    state = unpack(data["groups"]["state"]["values"]).reshape(-1, 3)
    assert np.array_equal(state, episode.steps["observation/state"][::4])


def test_proposed_action_is_drawn_only_where_it_differs_from_the_applied() -> None:
    episode = long_episode(50)
    assert 'class="proposed"' not in show(episode)
    proposed = episode.steps["action"].copy()
    proposed[7, 2] += 1.0
    steps = {**episode.steps, "proposed_action": proposed}
    changed = dataclasses.replace(episode, steps=steps)
    assert show(changed).count('class="proposed"') == 1
    assert ("actions changed", "1 of 50") in facts.describe(
        Found(Path("a"), None, changed)
    )


@pytest.mark.parametrize(
    ("success", "told"),
    [(True, "success"), (False, "failure"), (None, "success not known")],
)
def test_success_that_is_not_known_is_no_failure(
    success: bool | None, told: str
) -> None:
    text = show(long_episode(5, success=success))
    (found,) = re.findall(r'<span class="badge[^"]*">([^<]*)</span>', text)
    assert found == told


@pytest.mark.parametrize("rule", list(StopRule))
def test_every_stop_rule_is_told_in_words(rule: StopRule) -> None:
    told = facts.tell_end(long_episode(5, tags=(rule.tag,)))
    assert " " in told
    assert rule.tag not in told


@pytest.mark.parametrize(
    ("operator", "told"),
    [
        ("expert", "the scripted expert"),
        ("human", "a person"),
        ("policy:abcdef012345", "package abcdef012345 with delta efefefefefef"),
        ("", "not said"),
    ],
)
def test_who_acted_is_told(operator: str, told: str) -> None:
    episode = long_episode(5, operator=operator, delta_digest="ef" * 32)
    assert facts.tell_actor(episode) == told


def test_episode_of_one_step_without_change_is_shown() -> None:
    spec = EpisodeSpec(1, 1)
    text = show(episodes.episode(spec, count=1))
    assert "Did not change" in text
    assert read_data(text)["steps"] == 1


def test_names_of_another_robot_are_refused() -> None:
    names = ChannelNames("names.json", {"action": [Channel("grip")]})
    found = Found(Path("a.tfrecord"), None, episodes.episode())
    with pytest.raises(ShowError, match=r"action with the 2 channels of a\.tfr"):
        page.render(found, names)
