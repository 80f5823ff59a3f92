"""The rule edge_package."""

load(":providers.bzl", "EdgePackageInfo", "TARGETS")

_DOC = """Builds an edge package: a folder with its package.json, and the folder's tar.

The same inputs give the same bytes, and no key is involved. To build the signed
package, which has the same digest, sign the folder with `./bazelw run //release:sign`
and name the envelopes in `provenance` and `blessing`, and the report in `evaluation`.

```starlark
edge_package(
    name = "reach",
    family = "wavecore",
    version = "0.1.0",
    target = "pi5-cpu",
    functions = {"step.tflite": "functions/step.tflite"},
    weights = "weights.safetensors",
    safety = "safety.json",
    canary = "canary.tfrecord",
    canary_metrics = "canary.json",
    fields = "fields.json",
)
```
"""

_ATTRS = {
    "blessing": attr.label(
        allow_single_file = True,
        doc = "Signed blessing envelope of this package; omit it for an unsigned package.",
    ),
    "canary": attr.label(
        allow_single_file = [".tfrecord"],
        mandatory = True,
        doc = "A few held-out episodes; becomes canary.tfrecord.",
    ),
    "canary_metrics": attr.label(
        allow_single_file = [".json"],
        mandatory = True,
        doc = "Expected metrics on the canary, with tolerances; becomes canary.json.",
    ),
    "evaluation": attr.label(
        allow_single_file = [".json"],
        doc = "Evaluation report that the blessing names; omit it for an unsigned package.",
    ),
    "family": attr.string(
        mandatory = True,
        doc = "Name shared by all versions of the model.",
    ),
    "fields": attr.label(
        allow_single_file = [".json"],
        mandatory = True,
        doc = "JSON with robot, functions (signatures), surfaces, backbone_digest, " +
              "safety_version and metadata, as package.json holds them.",
    ),
    "functions": attr.label_keyed_string_dict(
        allow_files = True,
        mandatory = True,
        doc = "Exported functions: file to path in the package, below functions/.",
    ),
    "provenance": attr.label(
        allow_single_file = True,
        doc = "Signed provenance envelope of this package; omit it for an unsigned package.",
    ),
    "release_counter": attr.int(
        default = 0,
        doc = "Lowest channel counter under which the package may be released.",
    ),
    "safety": attr.label(
        allow_single_file = [".json"],
        mandatory = True,
        doc = "Action limits and stop rules; becomes safety.json.",
    ),
    "target": attr.string(
        mandatory = True,
        values = TARGETS,
        doc = "Export target.",
    ),
    "version": attr.string(
        mandatory = True,
        doc = "The model's version, for people.",
    ),
    "weights": attr.label(
        allow_single_file = [".safetensors"],
        mandatory = True,
        doc = "Backbone and initial surfaces; becomes weights.safetensors.",
    ),
    "_pack": attr.label(
        default = "//release/commands:pack",
        executable = True,
        cfg = "exec",
        doc = "The tool that lays out the folder and writes the tar.",
    ),
}

def _function_files(functions):
    files = []
    for target, path in functions.items():
        sources = target.files.to_list()
        if len(sources) != 1:
            fail("functions: expected one file for %s, got %d from %s" % (path, len(sources), target.label))
        if not path.startswith("functions/"):
            fail("functions: expected a path below functions/, got %s for %s" % (path, target.label))
        files.append((sources[0], path))
    return files

def _impl(ctx):
    if ctx.attr.release_counter < 0:
        fail("release_counter: expected at least 0, got %d" % ctx.attr.release_counter)
    contents = _function_files(ctx.attr.functions) + [
        (ctx.file.weights, "weights.safetensors"),
        (ctx.file.safety, "safety.json"),
        (ctx.file.canary, "canary.tfrecord"),
        (ctx.file.canary_metrics, "canary.json"),
    ]

    folder = ctx.actions.declare_directory(ctx.label.name)
    tar = ctx.actions.declare_file(ctx.label.name + ".tar")
    args = ctx.actions.args()
    args.add("--quiet")
    args.add("--family", ctx.attr.family)
    args.add("--model_version", ctx.attr.version)
    args.add("--target", ctx.attr.target)
    args.add("--release_counter", ctx.attr.release_counter)
    args.add("--fields", ctx.file.fields)
    inputs = [ctx.file.fields]
    for source, path in contents:
        args.add("--file", "%s:%s" % (source.path, path))
        inputs.append(source)
    unlisted = {
        "--blessing": ctx.file.blessing,
        "--evaluation": ctx.file.evaluation,
        "--provenance": ctx.file.provenance,
    }
    for flag, file in unlisted.items():
        if file:
            args.add(flag, file)
            inputs.append(file)

    # As text, since add() would need a mapping function for a tree artifact.
    args.add("--folder=" + folder.path)
    args.add("--tar", tar)
    ctx.actions.run(
        executable = ctx.executable._pack,
        arguments = [args],
        inputs = inputs,
        outputs = [folder, tar],
        mnemonic = "EdgePackage",
        progress_message = "Packing %{label}",
    )
    return [
        DefaultInfo(files = depset([folder, tar])),
        OutputGroupInfo(folder = depset([folder]), tar = depset([tar])),
        EdgePackageInfo(
            family = ctx.attr.family,
            folder = folder,
            release_counter = ctx.attr.release_counter,
            tar = tar,
            target = ctx.attr.target,
            version = ctx.attr.version,
        ),
    ]

edge_package = rule(
    implementation = _impl,
    doc = _DOC,
    attrs = _ATTRS,
    provides = [EdgePackageInfo],
)
