"""A package for tests."""

load("//third_party/python:defs.bzl", "COMPILES_FAST")

_DOC = "Exports a tiny model as a package, once for every test that reads it."

_ATTRS = {
    "_export_package": attr.label(
        default = "//cloud/testing:export_package",
        cfg = "exec",
        doc = "Makes the model and exports it.",
        executable = True,
    ),
}

def _exported_package_impl(ctx):
    package = ctx.actions.declare_directory(ctx.label.name)
    arguments = ctx.actions.args()
    arguments.add(package.path)
    ctx.actions.run(
        outputs = [package],
        arguments = [arguments],
        env = {"XLA_FLAGS": COMPILES_FAST},
        executable = ctx.executable._export_package,
        mnemonic = "ContinuonExport",
        progress_message = "Exporting %{label}",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([package]), runfiles = ctx.runfiles([package]))]

exported_package = rule(
    implementation = _exported_package_impl,
    attrs = _ATTRS,
    doc = _DOC,
)
