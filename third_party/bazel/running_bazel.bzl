"""Where the Bazel that was started lies on the machine."""

_DOC = """Exposes `path`, a file that holds the path of the `bazel` on the caller's PATH.

It is empty where there is none. bazelisk puts the one that it starts first on PATH, and
in bazelw's root it is the root's. A test that starts a Bazel of its own reads it here,
because a test's PATH is a fixed one.
"""

def _running_bazel_impl(ctx):
    ctx.file("path", str(ctx.which("bazel") or ""), executable = False)
    ctx.file("BUILD.bazel", "exports_files([\"path\"])\n")

running_bazel = repository_rule(
    implementation = _running_bazel_impl,
    doc = _DOC,
    environ = ["PATH"],
)
