"""The buildifier program, from its locked npm package."""

load("//third_party/debian:mirror.bzl", "MIRROR_ENVIRON", "locked_packages", "unpack_package")

_DOC = "Exposes buildifier, which formats and lints BUILD and .bzl files."

_ATTRS = {
    "debs": attr.label(allow_single_file = True, default = "//third_party/debian:debs.lock.json", doc = "Lock naming Debian's npm package."),
    "lock": attr.label(allow_single_file = True, doc = "Name, version, path and integrity of the npm package.", mandatory = True),
    "python": attr.label(allow_single_file = True, default = "@py313//:bin/python3", doc = "Interpreter that downloads it."),
    "_fetch": attr.label(allow_single_file = True, default = "//third_party/node:fetch.py"),
}

def _buildifier_impl(ctx):
    # npm may not be installed, so its default registry is read from Debian's npm package.
    for package in locked_packages(ctx, ctx.attr.debs, "amd64", "npm"):
        unpack_package(ctx, package, "npm")
    got = ctx.execute([
        ctx.path(ctx.attr.python),
        ctx.path(ctx.attr._fetch),
        ctx.path(ctx.attr.lock),
        ctx.path("npm/usr/share/nodejs/npm/lib/utils/config/definitions.js"),
        "package.tgz",
    ], timeout = 600)
    if got.return_code:
        fail(got.stderr.strip())
    ctx.extract("package.tgz", output = "package")
    moved = ctx.execute(["mv", "package/package/buildifier-linux_amd64", "buildifier"])
    if moved.return_code:
        fail("buildifier: expected buildifier-linux_amd64 in its npm package, found none")
    ctx.execute(["chmod", "+x", "buildifier"])
    for path in ["npm", "package", "package.tgz"]:
        ctx.delete(path)
    ctx.file("BUILD.bazel", "exports_files([\"buildifier\"], visibility = [\"//visibility:public\"])\n")

buildifier = repository_rule(
    implementation = _buildifier_impl,
    attrs = _ATTRS,
    doc = _DOC,
    environ = MIRROR_ENVIRON + ["NPM_CONFIG_REGISTRY"],
)
