"""A CPython from locked Debian packages."""

load("//third_party/debian:mirror.bzl", "MIRROR_ENVIRON", "locked_packages", "unpack_package")

_DOC = """A relocatable CPython 3.13 and its Python toolchain.

It includes its own C library, so that it runs on machines with an older one.
"""

_ATTRS = {
    "architecture": attr.string(
        doc = "Debian's name of the architecture.",
        mandatory = True,
        values = ["amd64", "arm64"],
    ),
    "compile": attr.bool(
        default = True,
        doc = "Whether to write .pyc files, by this CPython itself.",
    ),
    "lock": attr.label(allow_single_file = True, doc = "debs.lock.json.", mandatory = True),
    "_environment": attr.label(allow_single_file = True, default = "//third_party/python:private/environment.sh"),
    "_interrupt": attr.label(allow_single_file = True, default = "//third_party/python:private/sitecustomize.py"),
    "_start": attr.label(allow_single_file = True, default = "//third_party/python:private/start.sh"),
}

_PLATFORMS = {
    "amd64": struct(cpu = "x86_64", loader = "ld-linux-x86-64.so.2", multiarch = "x86_64-linux-gnu"),
    "arm64": struct(cpu = "aarch64", loader = "ld-linux-aarch64.so.1", multiarch = "aarch64-linux-gnu"),
}

# bin/ must be next to lib/: CPython finds its library from the path of its executable.
_ARRANGE = """
mkdir bin
mv root/usr/bin/python3.13 bin/
mv root/usr/lib lib
mkdir -p lib/zoneinfo-share
mv root/usr/share/zoneinfo lib/zoneinfo-share/zoneinfo
mkdir copyright
for folder in root/usr/share/doc/*; do
  cp -L "$folder/copyright" "copyright/${folder##*/}"
done
rm -rf root lib/bfd-plugins lib/ssl lib/python3
chmod -R u+w lib bin
find -L lib -type l -print -delete
"""

_WRAPPER = """#!/bin/sh
# Runs the packaged CPython with the packaged C library instead of the machine's.
here=$(readlink -f -- "$0"); here=${here%/*}
. "$here/environment.sh"
exec "$here/../lib/@MULTIARCH@/@LOADER@" --argv0 "$here/python3" \\
  --library-path "$here/../lib/@MULTIARCH@" "$here/python3.13" -s -X utf8 "$@"
"""

_BUILD = """
load("@rules_python//python:py_runtime.bzl", "py_runtime")
load("@rules_python//python:py_runtime_pair.bzl", "py_runtime_pair")

package(default_visibility = ["//visibility:public"])

exports_files(["bin/python3", "bin/python3.13"])

# "lib" is one directory label: 1 link in a runfiles tree instead of about 1300. Bazel
# sees a change inside it through lock.json and sitecustomize.py, which are plain files.
filegroup(
    name = "files",
    srcs = [
        "bin/environment.sh",
        "bin/python3",
        "bin/python3.13",
        "lib",
        "lock.json",
        "sitecustomize.py",
    ],
)

# For archives, which need the single files.
filegroup(name = "file_list", srcs = glob(["bin/*", "lib/**"], exclude = ["lib/**/* *"]))

# The licences of its packages; the files have the packages' names.
filegroup(name = "copyright", srcs = glob(["copyright/*"]))

py_runtime(
    name = "py3_runtime",
    files = [":files"],
    interpreter = "bin/python3",
    bootstrap_template = "start.sh",
    python_version = "PY3",
)

py_runtime_pair(name = "pair", py3_runtime = ":py3_runtime")

toolchain(
    name = "toolchain",
    target_compatible_with = ["@platforms//os:linux", "@platforms//cpu:@CPU@"],
    toolchain = ":pair",
    toolchain_type = "@rules_python//python:toolchain_type",
)
"""

def _compile(ctx):
    """Writes the .pyc files of the standard library.

    Without them, each process would compile the modules that it imports, and a sandbox
    would not keep the result. That takes 0.3 s at the start of one that imports JAX.
    """
    compileall = ["bin/python3", "-m", "compileall", "-q", "-j", "0"]
    done = ctx.execute(
        compileall + ["--invalidation-mode", "unchecked-hash", "lib/python3.13"],
        environment = {"PYTHONHASHSEED": "0"},
    )
    if done.return_code:
        fail("compiling CPython's standard library: " + done.stdout + done.stderr)

def _debian_python_impl(ctx):
    platform = _PLATFORMS[ctx.attr.architecture]
    ctx.symlink(ctx.path(ctx.attr.lock), "lock.json")
    for package in locked_packages(ctx, ctx.attr.lock, ctx.attr.architecture, "python"):
        unpack_package(ctx, package, "root")
    arranged = ctx.execute(["sh", "-ec", _ARRANGE])
    if arranged.return_code:
        fail("arranging CPython from its packages: " + arranged.stderr)
    ctx.file(
        "bin/python3",
        _WRAPPER.replace("@MULTIARCH@", platform.multiarch).replace("@LOADER@", platform.loader),
        executable = True,
    )
    for file, path in [
        (ctx.attr._environment, "bin/environment.sh"),
        (ctx.attr._interrupt, "lib/python3.13/sitecustomize.py"),
        (ctx.attr._interrupt, "sitecustomize.py"),
        (ctx.attr._start, "start.sh"),
    ]:
        ctx.file(path, ctx.read(ctx.path(file)), executable = False)
    if ctx.attr.compile:
        _compile(ctx)
    ctx.file("BUILD.bazel", _BUILD.replace("@CPU@", platform.cpu))

debian_python = repository_rule(
    implementation = _debian_python_impl,
    attrs = _ATTRS,
    doc = _DOC,
    environ = MIRROR_ENVIRON,
)
