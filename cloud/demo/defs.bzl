"""Targets for a curated dataset of simulated episodes, and for the expert's success.

The project's own binaries make everything: `//edge:record` records each session,
`//edge:upload`, `//cloud:ingest`, `//cloud:index` and `//cloud:curate` turn the sessions
into a dataset, and `//edge:run` evaluates the scripted expert, whose actions the dataset
holds. The bytes depend only on attributes and sources, so Bazel can cache them. A build
action cannot see version control, so instead of a commit the dataset's manifest has
`sources-sha256:` and a digest of the Python sources that made it.
"""

load("//cloud/demo:private/dataset.bzl", _demo_dataset = "demo_dataset")
load("//cloud/demo:private/expert_baseline.bzl", _expert_baseline = "expert_baseline")
load("//cloud/demo:private/session.bzl", _session = "session")

demo_dataset = _demo_dataset
expert_baseline = _expert_baseline
session = _session

def recorded_sessions(name, robots, tasks, episodes, actor_noise):
    """Declares one session per robot, each on a different day.

    Args:
        name: prefix of the sessions' targets.
        robots: number of robots, and so of sessions.
        tasks: Meta-World task names.
        episodes: episodes of each task in each session.
        actor_noise: standard deviation of the noise added to the expert's actions,
            as a share of the action range, in a string.

    Returns:
        The sessions' labels.
    """
    labels = []
    for robot in range(robots):
        number = "0%d" % robot if robot < 10 else str(robot)
        day = "0%d" % (robot + 1) if robot < 9 else str(robot + 1)
        session(
            name = "%s_%s" % (name, number),
            episodes = episodes,
            actor_noise = actor_noise,
            robot_id = "sim-" + number,
            # Far below the seeds of the evaluation, which start at 10000.
            seed = 100 * robot,
            sim_start = "2026-01-%sT08:00:00Z" % day,
            tasks = tasks,
        )
        labels.append(":%s_%s" % (name, number))
    return labels
