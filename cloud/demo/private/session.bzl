"""One recorded session of a simulated robot."""

SessionInfo = provider(
    doc = "The outputs of one robot's session.",
    fields = {
        "enrolled": "File with the robot's public key, for ingest.",
        "episodes": "Directory of redacted episodes with their sidecars.",
    },
)

_DOC = "Records a session of the scripted expert on simulated tasks with //edge:record."

_ATTRS = {
    "episodes": attr.int(doc = "Episodes of each task.", mandatory = True),
    "actor_noise": attr.string(default = "0.0", doc = "Standard deviation of the noise added to the expert's actions, as a share of the action range."),
    "robot_id": attr.string(doc = "The robot's name, from which its key and hash are derived.", mandatory = True),
    "seed": attr.int(doc = "Seed of the first episode of each task.", mandatory = True),
    "sim_start": attr.string(doc = "Simulated time at which the session starts, RFC 3339.", mandatory = True),
    "tasks": attr.string_list(doc = "Meta-World task names.", mandatory = True),
    "_record": attr.label(
        default = "//edge:record",
        cfg = "exec",
        doc = "The robot's recorder.",
        executable = True,
    ),
}

def _session_impl(ctx):
    episodes = ctx.actions.declare_directory(ctx.label.name)
    enrolled = ctx.actions.declare_file(ctx.label.name + ".enrolled.json")
    arguments = ctx.actions.args()
    arguments.add_joined(
        ["metaworld:" + task for task in ctx.attr.tasks],
        format_joined = "--robot=%s",
        join_with = ",",
    )
    arguments.add(ctx.attr.episodes, format = "--episodes=%s")
    arguments.add(ctx.attr.seed, format = "--seed=%s")
    arguments.add(ctx.attr.robot_id, format = "--robot_id=%s")
    arguments.add(ctx.attr.sim_start, format = "--sim_start=%s")
    arguments.add(ctx.attr.actor_noise, format = "--actor_noise=%s")
    arguments.add("--consent")
    arguments.add(enrolled, format = "--enrol=%s")
    arguments.add(episodes.path, format = "--output=%s")
    arguments.add(episodes.path, format = "--private_dir=%s.private")
    ctx.actions.run(
        outputs = [episodes, enrolled],
        arguments = [arguments],
        executable = ctx.executable._record,
        mnemonic = "ContinuonRecord",
        progress_message = "Recording %s with robot %s" % (ctx.label, ctx.attr.robot_id),
        use_default_shell_env = True,
    )
    return [
        DefaultInfo(files = depset([episodes, enrolled])),
        SessionInfo(enrolled = enrolled, episodes = episodes),
    ]

session = rule(
    implementation = _session_impl,
    attrs = _ATTRS,
    doc = _DOC,
    provides = [SessionInfo],
)
