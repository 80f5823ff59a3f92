"""Turns recorded sessions into a curated dataset, with the project's own binaries.

build_dataset --sessions=DIR,DIR --enrolled=F,F --spec=spec.json --output=DIR

A build action cannot see version control, so by default the manifest's `code_commit`
is a digest of the sources that made the dataset, `sources-sha256:<64 hex>`.
"""

from __future__ import annotations

import base.interrupt  # noqa: F401 - Ctrl-C ends it from here on

import shutil
import tempfile
from pathlib import Path

from absl import flags

from base import command_line, path_flags
from cloud import build_facts, programs
from cloud.curate import spec as curation_spec

FLAGS = flags.FLAGS
flags.DEFINE_list("sessions", None, "folders of recorded sessions", required=True)
flags.DEFINE_list("enrolled", None, "files with the robots' keys", required=True)
flags.DEFINE_string("spec", None, "curation spec", required=True)
flags.DEFINE_string("output", None, "folder of the dataset version", required=True)
flags.DEFINE_string(
    "created_at", "2026-02-01T00:00:00Z", "time written into the manifest, RFC 3339"
)
flags.DEFINE_string(
    "code_commit",
    None,
    "commit of the curating code, for the manifest; default: a digest of the sources "
    "of this program and of the programs that it runs",
)
path_flags.folders("sessions", "output")
path_flags.files("enrolled", "spec")


def main(_: list[str]) -> None:
    """Uploads, ingests, indexes and curates the sessions."""
    commit = FLAGS.code_commit or build_facts.code_version(programs.root())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        raw = (folder / "raw").as_uri()
        for number, session in enumerate(FLAGS.sessions):
            programs.run(
                "edge/episodes/upload",
                [f"--from={Path(session).absolute()}", f"--to={raw}"],
                folder / f"upload-{number}.log",
            )
        # A key of this build alone: nothing signed with it outlives the folder.
        key, public = folder / "ingest.json", folder / "ingest.public.json"
        enrolled = ",".join(str(Path(path).absolute()) for path in FLAGS.enrolled)
        programs.run(
            "cloud/ingest/ingest",
            [f"--raw={raw}", f"--enrolled={enrolled}", f"--ingest_key={key}"],
            folder / "ingest.log",
        )
        spec = curation_spec.read(Path(FLAGS.spec))
        version = folder / spec.dataset / f"v{spec.version}"
        index = folder / "index"
        programs.run(
            "cloud/index/index",
            [f"--raw={raw}", f"--index={index}", f"--ingest_public={public}"],
            folder / "index.log",
        )
        programs.run(
            "cloud/curate/curate",
            [
                f"--raw={raw}",
                f"--index={index}",
                f"--ingest_public={public}",
                f"--spec={Path(FLAGS.spec).absolute()}",
                f"--output={version.as_uri()}",
                f"--created_at={FLAGS.created_at}",
                f"--code_commit={commit}",
            ],
            folder / "curate.log",
        )
        shutil.copytree(version, FLAGS.output, dirs_exist_ok=True)


if __name__ == "__main__":
    command_line.run(main)
