"""The path of the running Bazel on this machine."""

_DOC = """Exposes `path`, a file that holds the path of the `bazel` on the caller's PATH.

The file is empty if PATH has no `bazel`. bazelisk puts the Bazel that it starts first
on PATH, and in bazelw's root it is the root's. A test that starts another Bazel reads
the path here, because the PATH of a test is fixed.
"""

def _running_bazel_impl(ctx):
    ctx.file("path", str(ctx.which("bazel") or ""), executable = False)
    ctx.file("BUILD.bazel", "exports_files([\"path\"])\n")

running_bazel = repository_rule(
    implementation = _running_bazel_impl,
    doc = _DOC,
    environ = ["PATH"],
)
