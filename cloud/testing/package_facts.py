"""What a package of the tests says about itself."""

from cloud.package.build import PackageFacts

FACTS = PackageFacts(
    family="wavecore",
    version="0.1.1",
    release_counter=3,
    target="pi5-cpu",
    action_minimum=-1.0,
    action_maximum=1.0,
    dataset_manifest="d" * 64,
    code_commit="unversioned",
    hardware="test machine",
    training_config={"preset": "tiny"},
    metrics={"held_out_loss": 0.1},
)
