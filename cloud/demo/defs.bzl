"""A curated dataset of simulated episodes, and the expert it imitates, as targets.

Everything is made by the project's own binaries: `//edge:record` records each
session, `//edge:upload`, `//cloud:ingest`, `//cloud:index` and `//cloud:curate` turn
the sessions into a dataset, and `//edge:run` lets the scripted expert take the
evaluation. The bytes depend on the attributes and the sources alone, so Bazel keeps them.
A build step sees no version control: where a dataset's manifest names a commit, one that
Bazel built has `sources-sha256:` and a digest of the Python sources that made it.
"""

load("//cloud/demo:private/dataset.bzl", _demo_dataset = "demo_dataset")
load("//cloud/demo:private/expert_baseline.bzl", _expert_baseline = "expert_baseline")
load("//cloud/demo:private/session.bzl", _session = "session")

demo_dataset = _demo_dataset
expert_baseline = _expert_baseline
session = _session

def recorded_sessions(name, robots, tasks, episodes, operator_noise):
    """Declares one session per robot, each on a day of its own.

    Args:
        name: prefix of the sessions' targets.
        robots: number of robots, which is the number of sessions.
        tasks: Meta-World task names.
        episodes: episodes of each task in each session.
        operator_noise: standard deviation of the operator's noise, share of the
            action range, as a string.

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
            operator_noise = operator_noise,
            robot_id = "sim-" + number,
            # Far below the evaluation's seeds, which begin at 10000.
            seed = 100 * robot,
            sim_start = "2026-01-%sT08:00:00Z" % day,
            tasks = tasks,
        )
        labels.append(":%s_%s" % (name, number))
    return labels
