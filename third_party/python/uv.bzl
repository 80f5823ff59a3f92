"""The installers pip, from a locked Debian package, and uv, from its locked wheel."""

load("//third_party/debian:mirror.bzl", "MIRROR_ENVIRON", "locked_packages", "unpack_package")

_DOC = """Exposes uv, which installs and resolves Python packages by hash.

pip downloads it, because pip reads the machine's index configuration.
"""

_ATTRS = {
    "debs": attr.label(allow_single_file = True, default = "//third_party/debian:debs.lock.json", doc = "Lock naming the pip package."),
    "lock": attr.label(allow_single_file = True, doc = "Hashed requirement of uv.", mandatory = True),
    "python": attr.label(allow_single_file = True, default = "@py313//:bin/python3", doc = "Interpreter that runs pip."),
}

_UNPACK = """
import os, sys, zipfile
wheel = zipfile.ZipFile(sys.argv[1])
member = next(name for name in wheel.namelist() if name.endswith("/scripts/uv"))
with open("uv", "wb") as program:
    program.write(wheel.read(member))
os.chmod("uv", 0o755)
"""

def _uv_impl(ctx):
    python = ctx.path(ctx.attr.python)
    for package in locked_packages(ctx, ctx.attr.debs, "amd64", "pip"):
        unpack_package(ctx, package, "root")
    ctx.execute(["sh", "-c", "mv root/usr/share/python-wheels/pip-*.whl pip.whl"])
    ctx.delete("root")
    got = ctx.execute([
        python,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--require-hashes",
        "-r",
        ctx.path(ctx.attr.lock),
        "-d",
        ".",
    ], environment = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": str(ctx.path("pip.whl"))}, timeout = 600)
    if got.return_code:
        fail("fetching uv with pip failed; check the network and pip's index configuration, then run again\n" + got.stderr)
    wheel = [path for path in ctx.path(".").readdir() if path.basename.startswith("uv-")][0]
    unpacked = ctx.execute([python, "-c", _UNPACK, wheel])
    if unpacked.return_code:
        fail("unpacking uv: " + unpacked.stderr)
    ctx.delete(wheel)
    ctx.file("BUILD.bazel", "exports_files([\"uv\", \"pip.whl\"], visibility = [\"//visibility:public\"])\n")

uv = repository_rule(
    implementation = _uv_impl,
    attrs = _ATTRS,
    doc = _DOC,
    environ = MIRROR_ENVIRON + ["PIP_INDEX_URL"],
)
