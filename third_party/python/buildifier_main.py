"""Runs buildifier's format check and lint, and refuses what Bazel 8 has removed.

usage: BUILDIFIER FILE [FILE ...], of which Python files are left out

Buildifier warns of rules that a file uses and does not load. It sees neither
`native.RULE` nor the BUILD files that a repository rule writes, which stand as text in
a .bzl file, nor paths in Bazel's own tools; these are looked for here.
"""

import re
import subprocess
import sys
from pathlib import Path

# Bazel 8 has no such rules of its own (its release notes, "Starlarkified").
_RULE = re.compile(
    r"(?<![\w.\"'/])(native\.)?"
    r"((?:py|java|sh|proto|android|aar|cc_proto|java_proto)_(?:binary|import|library|test"
    r"|runtime|runtime_pair|toolchain|lang_toolchain|plugin)"
    r"|(?:new_)?local_repository|bind)\("
)
_LOAD = re.compile(r"load\(([^)]*)\)")
_REMOVED_TOOLS = re.compile(r"@bazel_tools//tools/(?:python|jdk|android|proto|sh)\b")


def find_removed(text: str) -> list[str]:
    """Returns what a Starlark file uses that Bazel 8 no longer has."""
    loaded = set(re.findall(r"\"(\w+)\"", " ".join(_LOAD.findall(text))))
    found = [
        f"{native or ''}{rule}"
        for native, rule in _RULE.findall(text)
        if native or rule not in loaded | set(re.findall(r"def (\w+)\(", text))
    ]
    return sorted({*found, *_REMOVED_TOOLS.findall(text)})


def main() -> int:
    program, *named = sys.argv[1:]
    files = [name for name in named if Path(name).suffix not in (".py", ".pyi")]
    command = [program, "-mode=diff", "-diff_command=diff -u", "-lint=warn", *files]
    code = subprocess.run(command, check=False).returncode
    for file in files:
        for name in find_removed(Path(file).read_text()):
            sys.stderr.write(
                f"{file}: expected nothing that Bazel 8 has removed, got {name}; load "
                "the rule from its rule set\n"
            )
            code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main())
