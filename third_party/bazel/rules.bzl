"""Bazel's own rule sets, by hash, from their upstream release host."""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")

def bazel_rules():
    """Declares rules_python, rules_pkg and bazel_skylib.

    The versions are those which Debian ships, because debian.bazelrc puts
    Debian's copies in their place where the release host is out of reach.
    """
    http_archive(
        name = "rules_python",
        sha256 = "a5640fddd4beb03e8c1fde5ed7160c0ba6bd477e7d048661c30c06936a26fd63",
        strip_prefix = "rules_python-0.22.1",
        urls = ["https://github.com/bazelbuild/rules_python/archive/refs/tags/0.22.1.tar.gz"],
    )
    http_archive(
        name = "rules_pkg",
        sha256 = "8f9ee2dc10c1ae514ee599a8b42ed99fa262b757058f65ad3c384289ff70c4b8",
        urls = ["https://github.com/bazelbuild/rules_pkg/releases/download/0.9.1/rules_pkg-0.9.1.tar.gz"],
    )
