"""A site-packages folder installed from a hashed lock."""

_DOC = """Installs a lock into one folder and exposes it as one directory label.

A runfiles tree or sandbox then needs one link instead of ten thousand. Packages of the
trees in `below` are left out, so that each package is on disk only once; a target that
uses a tree also depends on the trees below it.
"""

_ATTRS = {
    "below": attr.label_list(allow_files = [".txt"], doc = "Locks of the trees below this one."),
    "compile": attr.bool(default = True, doc = "Whether to write .pyc files, which cuts start-up time."),
    "lock": attr.label(allow_single_file = True, doc = "Hashed requirements, including all dependencies.", mandatory = True),
    "platform": attr.string(doc = "uv's --python-platform, for the wheels of another machine."),
    "programs": attr.string_list(doc = "Programs in site-packages/bin to keep; the others contain paths of this machine."),
    "python": attr.label(allow_single_file = True, default = "@py313//:bin/python3", doc = "Interpreter to install for."),
    "remove": attr.string_list(doc = "Paths below site-packages that are not used here."),
    "sdists": attr.string_list(doc = "Pure-Python distributions without a wheel."),
    "uv": attr.label(allow_single_file = True, default = "@uv//:uv", doc = "The uv program."),
    "_layer": attr.label(allow_single_file = True, default = "//third_party/python:private/layer.py"),
    "_pip": attr.label(allow_single_file = True, default = "@uv//:pip.whl"),
}

_BUILD = """
load("@rules_python//python:defs.bzl", "py_library")

package(default_visibility = ["//visibility:public"])

exports_files(["site-packages", "lock.txt"])

# For archives, which need the single files.
filegroup(name = "files", srcs = glob(["site-packages/**"], exclude = ["site-packages/**/* *"]))

# The licences and other metadata of its packages.
filegroup(name = "metadata", srcs = glob(["site-packages/*.dist-info/**"]))

py_library(
    name = "tree",
    # Bazel sees a change of the tree through lock.txt, which is a plain file.
    data = ["site-packages", "lock.txt"],
    imports = ["site-packages"],
)
"""

# Scripts and install records contain paths of this machine; the rest is the same everywhere.
_NORMALISE = """
mkdir bin
for program in @PROGRAMS@; do mv site-packages/bin/$program bin/; done
rm -rf site-packages/bin site-packages/.lock
mv bin site-packages/bin
find site-packages -name __pycache__ -prune -exec rm -rf {} +
find site-packages -name direct_url.json -delete
find site-packages -path '*.dist-info/RECORD' -exec sed -i -E '\\#^(\\.\\./)*bin/#d; \\#direct_url.json|__pycache__#d' {} +
"""

def _run(ctx, arguments, environment = {}):
    # The caller's own modules must not be imported by pip, uv or compileall.
    done = ctx.execute(arguments, environment = {"PYTHONPATH": ""} | environment, quiet = True, timeout = 3600)
    if done.return_code:
        fail(("installing %s failed; check the network and the package index of this machine " +
              "(UV_DEFAULT_INDEX or pip's configuration), then run again\n%s%s") %
             (ctx.attr.lock, done.stdout, done.stderr))

def _index(ctx, python):
    """Passes pip's package index to uv, which does not read pip's configuration."""
    index = ctx.os.environ.get("UV_DEFAULT_INDEX") or ctx.os.environ.get("PIP_INDEX_URL")
    if not index:
        got = ctx.execute(
            [python, "-m", "pip", "config", "get", "global.index-url"],
            environment = {"PYTHONPATH": str(ctx.path(ctx.attr._pip))},
        )
        index = got.stdout.strip() if got.return_code == 0 else ""
    return {"UV_DEFAULT_INDEX": index} if index else {}

def _certificates(ctx):
    """Makes uv trust the machine's certificates, for a proxy with its own root."""
    found = ctx.path("/etc/ssl/certs/ca-certificates.crt").exists
    return {"UV_SYSTEM_CERTS": "1"} if found else {}

def _pip_tree_impl(ctx):
    python = ctx.path(ctx.attr.python)
    ctx.symlink(ctx.path(ctx.attr.lock), "lock.txt")
    _run(ctx, [python, ctx.path(ctx.attr._layer), ctx.path(ctx.attr.lock), "layer.txt"] +
              [ctx.path(lock) for lock in ctx.attr.below])
    install = [
        ctx.path(ctx.attr.uv),
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "--python",
        python,
        "--target",
        "site-packages",
        "--link-mode",
        "hardlink",
        "--cache-dir",
        ctx.path("cache"),
        "--only-binary",
        ":all:",
        "-r",
        "layer.txt",
    ]
    if ctx.attr.platform:
        install += ["--python-platform", ctx.attr.platform, "--python-version", "3.13"]
    environment = {"SOURCE_DATE_EPOCH": "315532800"} | _index(ctx, python) | _certificates(ctx)
    if ctx.attr.sdists:
        # Built with the locked setuptools, not with the newest one in an index.
        _run(ctx, install[:install.index("--target")] + ["--target", "build-tools"] +
                  install[install.index("--link-mode"):-1] + [ctx.path(Label("//third_party/python:locks/build.txt"))], environment)
        environment["PYTHONPATH"] = str(ctx.path("build-tools"))
        install.append("--no-build-isolation")
        for name in ctx.attr.sdists:
            install += ["--no-binary", name]
    _run(ctx, install, environment)
    for path in ["cache", "build-tools", "layer.txt"] + ["site-packages/" + path for path in ctx.attr.remove]:
        ctx.delete(path)
    _run(ctx, ["sh", "-ec", _NORMALISE.replace("@PROGRAMS@", " ".join(ctx.attr.programs))])
    if ctx.attr.compile:
        # Unchecked-hash .pyc files contain no times, so they are the same on every machine.
        _run(ctx, [
            python,
            "-m",
            "compileall",
            "-q",
            "-j",
            "0",
            # Nothing here imports the packages' own tests, which are a fifth of the code.
            "-x",
            r"/tests?/|/test_[^/]*\.py$|_test\.py$",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            str(ctx.path(".")),
            "site-packages",
        ], {"PYTHONHASHSEED": "0"})
    ctx.file("BUILD.bazel", _BUILD)

pip_tree = repository_rule(
    implementation = _pip_tree_impl,
    attrs = _ATTRS,
    doc = _DOC,
    environ = ["PIP_INDEX_URL", "UV_DEFAULT_INDEX"],
)
