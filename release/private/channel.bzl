"""The rule channel."""

load(":providers.bzl", "CHANNELS", "ChannelInfo", "EdgePackageInfo")

_DOC = """Builds an unsigned channel file that points at edge packages.

Robots accept only the envelope that the holders of the channel's keys make from it
with `./bazelw run //release:sign -- --role=channel:NAME --channel_file=…`.

```starlark
channel(
    name = "stable",
    channel = "stable",
    release_counter = 42,
    packages = [":reach"],
    previous = "stable_41.json",
    expires = "2026-03-01T00:00:00Z",
    rollout_percent = 25,
    run_id = "2026-01-30-a",
    blessing = "<sha256 of the blessing's envelope>",
)
```
"""

_ATTRS = {
    "blessing": attr.string(
        mandatory = True,
        doc = "sha256 of the blessing envelope of the newest package.",
    ),
    "channel": attr.string(
        mandatory = True,
        values = CHANNELS,
        doc = "Name of the channel.",
    ),
    "expires": attr.string(
        mandatory = True,
        doc = "UTC time after which robots no longer accept it, such as 2026-03-01T00:00:00Z.",
    ),
    "issued": attr.string(
        doc = "UTC time at which it is made; omit it and the file does not state one.",
    ),
    "minimum_runtime": attr.string(
        default = "0.1.0",
        doc = "Lowest version of the robot's runtime that can run the packages.",
    ),
    "packages": attr.label_list(
        providers = [EdgePackageInfo],
        mandatory = True,
        allow_empty = False,
        doc = "Packages, one for each target; the last is the newest.",
    ),
    "previous": attr.label(
        allow_single_file = [".json"],
        doc = "Channel file of the previous release; omit it for the first release.",
    ),
    "release_counter": attr.int(
        mandatory = True,
        doc = "Release counter of the channel; robots accept only a higher one.",
    ),
    "rollout_percent": attr.int(
        default = 100,
        doc = "Share of robots that take the release, in percent.",
    ),
    "rollout_salt": attr.string(
        default = "everyone",
        doc = "Salt of the hash that chooses the robots.",
    ),
    "run_id": attr.string(
        mandatory = True,
        doc = "Training run that made the newest package.",
    ),
    "_make_channel": attr.label(
        default = "//release/commands:make_channel",
        executable = True,
        cfg = "exec",
        doc = "The tool that writes the channel file.",
    ),
}

def _check(ctx, infos):
    if ctx.attr.release_counter < 1:
        fail("release_counter: expected at least 1, got %d" % ctx.attr.release_counter)
    if ctx.attr.rollout_percent < 0 or ctx.attr.rollout_percent > 100:
        fail("rollout_percent: expected 0 to 100, got %d" % ctx.attr.rollout_percent)
    targets = {}
    for info in infos:
        if info.target in targets:
            fail("packages: expected one package for each target, got two for %s" % info.target)
        targets[info.target] = True
        if info.release_counter > ctx.attr.release_counter:
            fail("release_counter: expected at least the package's %d, got %d" % (
                info.release_counter,
                ctx.attr.release_counter,
            ))

def _impl(ctx):
    infos = [package[EdgePackageInfo] for package in ctx.attr.packages]
    _check(ctx, infos)
    output = ctx.actions.declare_file(ctx.label.name + ".json")
    tars = [info.tar for info in infos]
    args = ctx.actions.args()
    args.add("--quiet")
    args.add("--channel", ctx.attr.channel)
    args.add("--release_counter", ctx.attr.release_counter)
    args.add_all(tars, before_each = "--tar")
    args.add("--expires", ctx.attr.expires)
    args.add("--rollout_percent", ctx.attr.rollout_percent)
    args.add("--rollout_salt", ctx.attr.rollout_salt)
    args.add("--minimum_runtime", ctx.attr.minimum_runtime)
    args.add("--run_id", ctx.attr.run_id)
    args.add("--blessing", ctx.attr.blessing)
    if ctx.attr.issued:
        args.add("--issued", ctx.attr.issued)
    inputs = list(tars)
    if ctx.file.previous:
        args.add("--previous", ctx.file.previous)
        inputs.append(ctx.file.previous)
    args.add("--output", output)
    ctx.actions.run(
        executable = ctx.executable._make_channel,
        arguments = [args],
        inputs = inputs,
        outputs = [output],
        mnemonic = "ReleaseChannel",
        progress_message = "Writing channel %{label}",
    )
    return [
        DefaultInfo(files = depset([output])),
        ChannelInfo(
            channel = ctx.attr.channel,
            file = output,
            release_counter = ctx.attr.release_counter,
        ),
    ]

channel = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    provides = [ChannelInfo],
)
