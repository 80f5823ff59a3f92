"""The rule that collects licences into one text."""

_DOC = "Collects the licences of Debian packages and Python distributions into one text."

_ATTRS = {
    "licence": attr.label(
        allow_single_file = True,
        doc = "Text of the Apache License 2.0, for distributions that only name it.",
        mandatory = True,
    ),
    "srcs": attr.label_list(
        allow_files = True,
        doc = "Copyright files of Debian packages, and metadata of distributions.",
        mandatory = True,
    ),
    "_tool": attr.label(
        cfg = "exec",
        default = "//third_party:make_notices",
        executable = True,
    ),
}

def _impl(ctx):
    output = ctx.actions.declare_file(ctx.label.name + ".txt")
    arguments = ctx.actions.args()
    arguments.use_param_file("@%s", use_always = True)
    arguments.set_param_file_format("multiline")
    arguments.add(output, format = "--output=%s")
    arguments.add(ctx.file.licence, format = "--licence=%s")
    arguments.add_all(ctx.files.srcs)
    ctx.actions.run(
        arguments = [arguments],
        executable = ctx.executable._tool,
        inputs = ctx.files.srcs + [ctx.file.licence],
        mnemonic = "Notices",
        outputs = [output],
        progress_message = "Collecting licences for %{label}",
    )
    return [DefaultInfo(files = depset([output]))]

notices = rule(
    implementation = _impl,
    attrs = _ATTRS,
    doc = _DOC,
)
