"""Every external part that is not a rule set: two CPythons, and trees of packages.

WORKSPACE calls `external_parts`, and MODULE.bazel the extension that does the same.
"""

load("//third_party/bazel:running_bazel.bzl", "running_bazel")
load("//third_party/debian:debian_file.bzl", "debian_file")
load("//third_party/node:buildifier.bzl", "buildifier")
load("//third_party/python:debian_python.bzl", "debian_python")
load("//third_party/python:pip_tree.bzl", "pip_tree")
load("//third_party/python:uv.bzl", "uv")

# Lines of text are found, and never read.
_READERS_OF_TEXT = [
    "rapidocr_onnxruntime/models/ch_PP-OCRv3_rec_infer.onnx",
    "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
]

def external_parts():
    """Declares the repositories."""
    running_bazel(name = "running_bazel")

    debian_python(
        name = "py313",
        architecture = "amd64",
        lock = "//third_party/debian:debs.lock.json",
    )

    debian_python(
        name = "py313_arm64",
        architecture = "arm64",
        # The bundle leaves .pyc files out.
        compile = False,
        lock = "//third_party/debian:debs.lock.json",
    )

    uv(
        name = "uv",
        lock = "//third_party/python:locks/uv.txt",
    )

    # Each tree holds what the trees below it do not: see third_party/README.md.
    pip_tree(
        name = "edge",
        lock = "//third_party/python:locks/edge.txt",
    )

    pip_tree(
        name = "edge_aarch64",
        compile = False,
        lock = "//third_party/python:locks/edge_aarch64.txt",
        platform = "aarch64-manylinux_2_31",
    )

    # The learner is an archive on top of the bundle.
    pip_tree(
        name = "learner_aarch64",
        below = ["//third_party/python:locks/edge_aarch64.txt"],
        compile = False,
        lock = "//third_party/python:locks/learner_aarch64.txt",
        platform = "aarch64-manylinux_2_31",
    )

    # Beside edge, for a robot with a camera.
    pip_tree(
        name = "masks",
        lock = "//third_party/python:locks/masks.txt",
        remove = _READERS_OF_TEXT,
    )

    pip_tree(
        name = "masks_aarch64",
        compile = False,
        lock = "//third_party/python:locks/masks_aarch64.txt",
        platform = "aarch64-manylinux_2_31",
        remove = _READERS_OF_TEXT,
    )

    # Apart from cloud, so that who builds a bundle does not fetch all that.
    pip_tree(
        name = "archives",
        lock = "//third_party/python:locks/archives.txt",
    )

    pip_tree(
        name = "photographs",
        compile = False,
        lock = "//third_party/python:locks/photographs.txt",
    )

    pip_tree(
        name = "speech",
        lock = "//third_party/python:locks/speech.txt",
    )

    # Beside edge, for an arm that LeRobot drives: fetched by who asks for it
    # (--config=lerobot) and for its tests.
    pip_tree(
        name = "lerobot",
        below = ["//third_party/python:locks/edge.txt"],
        lock = "//third_party/python:locks/lerobot.txt",
        sdists = ["feetech-servo-sdk"],
    )

    # Beside edge: fetched by who asks for it (--config=rerun).
    pip_tree(
        name = "rerun",
        below = ["//third_party/python:locks/edge.txt"],
        lock = "//third_party/python:locks/rerun.txt",
        remove = [
            # The viewer is a program of its own, which nothing here starts.
            "rerun_cli",
        ],
    )

    pip_tree(
        name = "sim",
        below = ["//third_party/python:locks/edge.txt"],
        lock = "//third_party/python:locks/sim.txt",
    )

    pip_tree(
        name = "model",
        below = ["//third_party/python:locks/edge.txt"],
        lock = "//third_party/python:locks/model.txt",
    )

    pip_tree(
        name = "cloud",
        below = [
            "//third_party/python:locks/edge.txt",
            "//third_party/python:locks/model.txt",
        ],
        lock = "//third_party/python:locks/cloud.txt",
        remove = [
            # C++ headers and a C++ library which no Python module loads.
            "tensorflow/include",
        ],
        sdists = ["promise"],
    )

    # Beside cloud, for other people's data.
    pip_tree(
        name = "exchange",
        below = [
            "//third_party/python:locks/edge.txt",
            "//third_party/python:locks/model.txt",
            "//third_party/python:locks/cloud.txt",
        ],
        lock = "//third_party/python:locks/exchange.txt",
    )

    pip_tree(
        name = "notebook",
        below = [
            "//third_party/python:locks/edge.txt",
            "//third_party/python:locks/sim.txt",
            "//third_party/python:locks/model.txt",
            "//third_party/python:locks/cloud.txt",
        ],
        lock = "//third_party/python:locks/notebook.txt",
    )

    pip_tree(
        name = "dev",
        below = ["//third_party/python:locks/edge.txt"],
        lock = "//third_party/python:locks/dev.txt",
        programs = ["ruff"],
    )

    debian_file(
        name = "qemu_user",
        file = "usr/bin/qemu-aarch64",
        lock = "//third_party/debian:debs.lock.json",
        purpose = "qemu",
    )

    buildifier(
        name = "buildifier",
        lock = "//third_party/node:buildifier.lock.json",
    )

def _modules_impl(ctx):
    external_parts()
    return ctx.extension_metadata(
        root_module_direct_deps = "all",
        root_module_direct_dev_deps = [],
    )

modules = module_extension(
    implementation = _modules_impl,
    doc = "Declares the repositories of `external_parts` for MODULE.bazel.",
)
