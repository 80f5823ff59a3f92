"""The scripted expert's success on the trials that `//cloud:train` evaluates on."""

_DOC = "Runs the scripted expert with //edge:run and keeps its success per task."

_ATTRS = {
    "tasks": attr.string_list(doc = "Meta-World task names.", mandatory = True),
    "_build_expert_baseline": attr.label(
        default = "//cloud/demo:build_expert_baseline",
        cfg = "exec",
        doc = "Runs the robot's program and adds up its results.",
        executable = True,
    ),
}

def _expert_baseline_impl(ctx):
    baseline = ctx.actions.declare_file(ctx.label.name + ".json")
    arguments = ctx.actions.args()
    arguments.add_joined(ctx.attr.tasks, format_joined = "--tasks=%s", join_with = ",")
    arguments.add(baseline, format = "--output=%s")
    ctx.actions.run(
        outputs = [baseline],
        arguments = [arguments],
        executable = ctx.executable._build_expert_baseline,
        mnemonic = "ContinuonExpert",
        progress_message = "Measuring the scripted expert for %{label}",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([baseline]), runfiles = ctx.runfiles([baseline]))]

expert_baseline = rule(
    implementation = _expert_baseline_impl,
    attrs = _ATTRS,
    doc = _DOC,
)
