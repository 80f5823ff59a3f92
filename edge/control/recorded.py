"""What a robot saw in the steps of an episode, for a package that is shown it again."""

from edge.robots.robot import Observation, Picture
from rlds.episode import Episode
from rlds.spec import NO_PICTURE_AGE, age_field, picture_field


def list_observations(episode: Episode) -> list[Observation]:
    """Returns the observation of each step, with the pictures that it had."""
    steps = episode.steps
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
        found.append(Observation(state, now_ns, pictures=pictures))
    return found
