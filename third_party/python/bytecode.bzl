"""Bytecode of this repository's own sources."""

_DOC = """Compiles the sources of a folder, in one action.

A sandbox keeps nothing that Python writes, so without these files each test and each
program in a test would compile every module that it imports: 0.1 to 0.25 s each.
"""

_ATTRS = {
    "outs": attr.output_list(doc = "The bytecode of each file of `srcs`.", mandatory = True),
    "srcs": attr.label_list(allow_files = [".py"], doc = "Files of this package.", mandatory = True),
    "_compile": attr.label(
        cfg = "exec",
        default = "//third_party/python:compile_sources",
        executable = True,
    ),
}

def bytecode_file(source):
    """Names the file that Python looks for beside `source`, a file of this package."""
    return "__pycache__/%s.cpython-313.pyc" % source.removesuffix(".py")

def has_bytecode(source):
    """Tells whether `bytecode` of this package compiles `source`."""
    return source.endswith(".py") and not source.endswith("_test.py") and "/" not in source and ":" not in source

def _impl(ctx):
    arguments = ctx.actions.args()
    for source, output in zip(ctx.files.srcs, ctx.outputs.outs):
        arguments.add(source)
        arguments.add(output)
    ctx.actions.run(
        arguments = [arguments],
        env = {"PYTHONHASHSEED": "0"},
        executable = ctx.executable._compile,
        inputs = ctx.files.srcs,
        mnemonic = "PyBytecode",
        outputs = ctx.outputs.outs,
        progress_message = "Compiling Python of %{label}",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset(ctx.outputs.outs))]

_bytecode = rule(
    implementation = _impl,
    attrs = _ATTRS,
    doc = _DOC,
)

def bytecode(name, srcs):
    """Compiles those of `srcs` that others import; each output is a target of its own.

    Args:
        name: target name.
        srcs: Python files of this package.
    """
    compiled = [source for source in srcs if has_bytecode(source)]
    if compiled:
        _bytecode(name = name, srcs = compiled, outs = [bytecode_file(source) for source in compiled])
