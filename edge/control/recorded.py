"""What a robot sensed in an episode, for a package that is shown it again."""

from edge.robots.robot import Observation, Picture, Sound
from rlds import coarse_sound
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, age_field, picture_field


def list_observations(episode: Episode) -> list[Observation]:
    """Returns the observation of each step, with the pictures and sound that it had."""
    steps = episode.steps
    heard = steps.get("observation/audio_mel")
    is_coarse = (
        heard is not None
        and coarse_sound.find_fault(heard, steps["t_monotonic_ns"]) is None
    )
    times_ns = steps["t_monotonic_ns"].tolist()
    found = []
    for number, now_ns in enumerate(times_ns):
        pictures = {}
        if episode.spec.image:
            jpeg = steps[picture_field("")][number]
            pictures[""] = Picture(jpeg, now_ns)
        for camera in episode.spec.cameras:
            age_ns = int(steps[age_field(camera)][number])
            if age_ns != NO_PICTURE_AGE:
                jpeg = steps[picture_field(camera)][number]
                pictures[camera] = Picture(jpeg, now_ns - age_ns)
        state = steps["observation/state"][number]
        sound = None if heard is None else Sound(heard[number], now_ns, is_coarse)
        found.append(Observation(state, now_ns, pictures=pictures, sound=sound))
    return found
