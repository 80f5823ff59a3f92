"""Tests that the rules refuse wrong attributes and say what they expected."""

load(":channel.bzl", "channel")
load(":edge_package.bzl", "edge_package")
load(":providers.bzl", "EdgePackageInfo")

def _refused_impl(ctx):
    # An attribute with a transition holds a list.
    target = ctx.attr.target_under_test[0]
    if AnalysisFailureInfo not in target:
        return [AnalysisTestResultInfo(success = False, message = "expected a failure, got none")]
    messages = [cause.message for cause in target[AnalysisFailureInfo].causes.to_list()]
    return [AnalysisTestResultInfo(
        success = any([ctx.attr.text in message for message in messages]),
        message = "expected %s, got %s" % (ctx.attr.text, messages),
    )]

_refused_test = rule(
    implementation = _refused_impl,
    doc = "Passes if the analysis of a target fails with a given text.",
    attrs = {
        "target_under_test": attr.label(
            mandatory = True,
            doc = "The target that must fail.",
            cfg = analysis_test_transition(settings = {
                "//command_line_option:allow_analysis_failures": "True",
            }),
        ),
        "text": attr.string(
            mandatory = True,
            doc = "Text that the error must contain.",
        ),
    },
    analysis_test = True,
)

def _package_impl(ctx):
    info = ctx.attr.target_under_test[EdgePackageInfo]
    got = (info.target, info.release_counter, info.folder.is_directory, info.tar.extension)
    expected = ("pi5-cpu", 3, True, "tar")
    return [AnalysisTestResultInfo(
        success = got == expected,
        message = "expected %s, got %s" % (expected, got),
    )]

_package_test = rule(
    implementation = _package_impl,
    doc = "Passes if a package's provider describes the package.",
    attrs = {
        "target_under_test": attr.label(
            mandatory = True,
            doc = "The package.",
            providers = [EdgePackageInfo],
        ),
    },
    analysis_test = True,
)

def _package(name, **kwargs):
    attributes = {
        "canary": "//release/examples:canary.tfrecord",
        "canary_metrics": "//release/examples:canary.json",
        "family": "example",
        "fields": "//release/examples:fields.json",
        "functions": {"//release/examples:step.tflite": "functions/step.tflite"},
        "release_counter": 3,
        "safety": "//release/examples:safety.json",
        "tags": ["manual"],
        "target": "pi5-cpu",
        "version": "0.1.0",
        "weights": "//release/examples:weights.safetensors",
    }
    attributes.update(kwargs)
    edge_package(name = name, **attributes)

def _channel(name, **kwargs):
    attributes = {
        "blessing": "0" * 64,
        "channel": "nightly",
        "expires": "2026-03-01T00:00:00Z",
        "packages": [":subject"],
        "release_counter": 3,
        "run_id": "example",
        "tags": ["manual"],
    }
    attributes.update(kwargs)
    channel(name = name, **attributes)

def rules_test(name):
    """Declares the tests.

    Args:
        name: name of the suite.
    """
    _package("subject")
    _package("subject_again")
    _package("negative_counter", release_counter = -1)
    _package(
        "outside_functions",
        functions = {"//release/examples:step.tflite": "step.tflite"},
    )
    _channel("zero_counter", release_counter = 0)
    _channel("low_counter", release_counter = 2)
    _channel("wrong_percent", rollout_percent = 101)
    _channel("one_target_twice", packages = [":subject", ":subject_again"])
    refused = {
        "low_counter": "release_counter: expected at least the package's 3, got 2",
        "negative_counter": "release_counter: expected at least 0, got -1",
        "one_target_twice": "expected one package for each target, got two for pi5-cpu",
        "outside_functions": "expected a path below functions/, got step.tflite",
        "wrong_percent": "rollout_percent: expected 0 to 100, got 101",
        "zero_counter": "release_counter: expected at least 1, got 0",
    }
    for target, text in refused.items():
        _refused_test(
            name = target + "_test",
            target_under_test = ":" + target,
            text = text,
        )
    _package_test(
        name = "package_test",
        target_under_test = ":subject",
    )
    native.test_suite(
        name = name,
        tests = [target + "_test" for target in refused] + ["package_test"],
    )
