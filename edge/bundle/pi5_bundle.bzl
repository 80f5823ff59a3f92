"""The rule that packs the robot's runtime for a Raspberry Pi 5."""

load("@rules_python//python:defs.bzl", "PyInfo")

_DOC = """Packs an interpreter, its packages and programs into one archive.

The archive's bytes depend only on its files. It can be unpacked anywhere: the launcher
finds the other files relative to its own path.
"""

_ATTRS = {
    "below": attr.label_list(
        doc = "Programs of the bundle over which this one is unpacked: their sources stay out.",
        providers = [PyInfo],
    ),
    "extra": attr.label_keyed_string_dict(
        allow_files = True,
        doc = "More files, each with its path in the bundle.",
    ),
    "interpreter": attr.label(
        allow_files = True,
        doc = "Files of the target's CPython; none in a bundle that is unpacked over another.",
    ),
    "leave_out": attr.string_list(
        doc = "Patterns of paths in the bundle that the programs do not load.",
    ),
    "listing": attr.string(default = "BUNDLE.json", doc = "Path of the list of files."),
    "packages": attr.label(
        allow_files = True,
        doc = "Files of the target's site-packages tree.",
        mandatory = True,
    ),
    "programs": attr.label_list(
        doc = "The Python targets whose sources, with those of their deps, go into the bundle.",
        mandatory = True,
        providers = [PyInfo],
    ),
    "target": attr.string(doc = "Export target of the packages that it runs.", mandatory = True),
    "version": attr.string(doc = "Version of the runtime.", mandatory = True),
    "_tool": attr.label(
        cfg = "exec",
        default = "//edge/bundle:make_bundle",
        executable = True,
    ),
}

def _below_repository(file):
    """Path of a file of another repository, relative to that repository."""
    path = file.short_path
    if not path.startswith("../"):
        fail("expected a file of another repository, got " + path)
    return "/".join(path.split("/")[2:])

def _interpreter_line(file):
    return "python/%s\t%s" % (_below_repository(file), file.path)

def _packages_line(file):
    return "%s\t%s" % (_below_repository(file), file.path)

def _source_line(file):
    # Third-party packages are a separate tree; this takes only the project's files.
    return None if file.short_path.startswith("../") else "code/%s\t%s" % (file.short_path, file.path)

def _impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".tar.zst")
    sources = depset(transitive = [
        program[PyInfo].transitive_sources
        for program in ctx.attr.programs
    ])
    below = {
        source.path: None
        for program in ctx.attr.below
        for source in program[PyInfo].transitive_sources.to_list()
    }
    sources = depset([one for one in sources.to_list() if one.path not in below])
    lines = ctx.actions.args()
    lines.set_param_file_format("multiline")
    lines.add_all(ctx.files.interpreter, map_each = _interpreter_line)
    lines.add_all(ctx.attr.packages[DefaultInfo].files, map_each = _packages_line)
    lines.add_all(sources, map_each = _source_line)
    for target, path in ctx.attr.extra.items():
        files = target[DefaultInfo].files.to_list()
        if len(files) != 1:
            fail("extra: expected one file in %s, got %d" % (target.label, len(files)))
        lines.add("%s\t%s" % (path, files[0].path))
    list_file = ctx.actions.declare_file(ctx.label.name + ".files.txt")
    ctx.actions.write(list_file, lines)
    arguments = ctx.actions.args()
    arguments.add("--files", list_file)
    arguments.add("--output", output)
    arguments.add("--listing", ctx.attr.listing)
    arguments.add("--target", ctx.attr.target)
    arguments.add("--runtime_version", ctx.attr.version)
    arguments.add_all(ctx.attr.leave_out, before_each = "--leave_out")
    ctx.actions.run(
        arguments = [arguments],
        executable = ctx.executable._tool,
        inputs = depset(
            [list_file] + ctx.files.extra,
            transitive = [
                depset(ctx.files.interpreter),
                ctx.attr.packages[DefaultInfo].files,
                sources,
            ],
        ),
        mnemonic = "EdgeBundle",
        outputs = [output],
        progress_message = "Packing %{label}",
    )
    return [DefaultInfo(files = depset([output]))]

pi5_bundle = rule(
    implementation = _impl,
    attrs = _ATTRS,
    doc = _DOC,
)
