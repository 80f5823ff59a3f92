"""One file from a Debian package."""

load("//third_party/debian:mirror.bzl", "MIRROR_ENVIRON", "locked_packages", "unpack_package")

_DOC = "Exposes one file of a locked Debian package as a label named after the file."

_ATTRS = {
    "architecture": attr.string(default = "amd64", doc = "Debian's name of the architecture."),
    "file": attr.string(mandatory = True, doc = "Path of the file inside the package."),
    "lock": attr.label(allow_single_file = True, doc = "debs.lock.json.", mandatory = True),
    "purpose": attr.string(doc = "Purpose of the package in the lock.", mandatory = True),
}

def _debian_file_impl(ctx):
    for package in locked_packages(ctx, ctx.attr.lock, ctx.attr.architecture, ctx.attr.purpose):
        unpack_package(ctx, package, "root")
    name = ctx.attr.file.split("/")[-1]
    moved = ctx.execute(["mv", "root/" + ctx.attr.file, name])
    if moved.return_code:
        fail("%s: expected the file %s, found none" % (ctx.attr.purpose, ctx.attr.file))
    ctx.delete("root")
    ctx.file("BUILD.bazel", "exports_files([%r])\n" % name)

debian_file = repository_rule(
    implementation = _debian_file_impl,
    attrs = _ATTRS,
    doc = _DOC,
    environ = MIRROR_ENVIRON,
)
