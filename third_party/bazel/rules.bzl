"""Bazel's own rule sets, by hash, from their upstream release host."""

load("@bazel_tools//tools/build_defs/repo:http.bzl", "http_archive")

def bazel_rules():
    """Declares the rule sets that are loaded here, and the skylib that they need.

    They have Debian's versions, because debian.bazelrc replaces them by Debian's copies
    where the release host cannot be reached. Only skylib differs: Debian ships 1.9.1,
    and 1.9.0 is the newest archive whose hash was found in public. rules_python, which
    needs it, asks for 1.3.0 or later. Figures and tests were made with Debian's copies.
    """
    http_archive(
        name = "bazel_skylib",
        sha256 = "3b5b49006181f5f8ff626ef8ddceaa95e9bb8ad294f7b5d7b11ea9f7ddaf8c59",
        urls = ["https://github.com/bazelbuild/bazel-skylib/releases/download/1.9.0/bazel-skylib-1.9.0.tar.gz"],
    )
    http_archive(
        name = "rules_python",
        sha256 = "a5640fddd4beb03e8c1fde5ed7160c0ba6bd477e7d048661c30c06936a26fd63",
        strip_prefix = "rules_python-0.22.1",
        urls = ["https://github.com/bazelbuild/rules_python/archive/refs/tags/0.22.1.tar.gz"],
    )
    http_archive(
        name = "rules_shell",
        sha256 = "3e114424a5c7e4fd43e0133cc6ecdfe54e45ae8affa14fadd839f29901424043",
        strip_prefix = "rules_shell-0.4.0",
        urls = ["https://github.com/bazelbuild/rules_shell/releases/download/v0.4.0/rules_shell-v0.4.0.tar.gz"],
    )
