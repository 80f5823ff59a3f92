"""A curated dataset made of recorded sessions."""

load("//cloud/demo:private/session.bzl", "SessionInfo")

_DOC = "Uploads, ingests, indexes and curates sessions into one dataset version."

_ATTRS = {
    "created_at": attr.string(doc = "Time for the manifest, RFC 3339.", mandatory = True),
    "sessions": attr.label_list(doc = "The recorded sessions.", mandatory = True, providers = [SessionInfo]),
    "spec": attr.label(allow_single_file = [".json"], doc = "The curation spec.", mandatory = True),
    "_build_dataset": attr.label(
        default = "//cloud/demo:build_dataset",
        cfg = "exec",
        doc = "Runs the programs of cloud/ one after another.",
        executable = True,
    ),
}

def _demo_dataset_impl(ctx):
    dataset = ctx.actions.declare_directory(ctx.label.name)
    sessions = [target[SessionInfo] for target in ctx.attr.sessions]
    episodes = [session.episodes for session in sessions]
    enrolled = [session.enrolled for session in sessions]
    arguments = ctx.actions.args()
    arguments.add_joined(episodes, expand_directories = False, format_joined = "--sessions=%s", join_with = ",")
    arguments.add_joined(enrolled, format_joined = "--enrolled=%s", join_with = ",")
    arguments.add(ctx.file.spec, format = "--spec=%s")
    arguments.add(ctx.attr.created_at, format = "--created_at=%s")
    arguments.add(dataset.path, format = "--output=%s")
    ctx.actions.run(
        inputs = episodes + enrolled + [ctx.file.spec],
        outputs = [dataset],
        arguments = [arguments],
        executable = ctx.executable._build_dataset,
        mnemonic = "ContinuonCurate",
        progress_message = "Curating %{label}",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([dataset]), runfiles = ctx.runfiles([dataset]))]

demo_dataset = rule(
    implementation = _demo_dataset_impl,
    attrs = _ATTRS,
    doc = _DOC,
)
