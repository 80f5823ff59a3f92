"""The providers that the release rules exchange."""

EdgePackageInfo = provider(
    doc = "An edge package made by a build action; unsigned unless statements were given.",
    fields = {
        "family": "Name shared by all versions of the model.",
        "folder": "Directory artifact that holds the package's files.",
        "release_counter": "Lowest channel counter under which it may be released.",
        "tar": "The deterministic tar of the folder.",
        "target": "Export target, such as pi5-cpu.",
        "version": "The model's version.",
    },
)

ChannelInfo = provider(
    doc = "An unsigned channel file.",
    fields = {
        "channel": "Name of the channel.",
        "file": "The channel file, from which //release:sign makes an envelope.",
        "release_counter": "The channel's release counter.",
    },
)

TARGETS = ["hailo-onnx", "jetson-cuda", "pi5-cpu", "tpu"]
CHANNELS = ["beta", "nightly", "rollback", "stable"]
