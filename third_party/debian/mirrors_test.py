"""`mirrors.sh` with the apt sources and settings of several machines."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "mirrors.sh"


class Sources:
    """What a machine's apt says: a few lines of shell stand for apt's programs."""

    def __init__(self, folder: Path) -> None:
        """Makes a machine whose apt names nothing."""
        self.folder = folder
        (folder / "bin").mkdir()
        (folder / "apt" / "sources.list.d").mkdir(parents=True)
        self.program("apt-get", "")
        self.program("apt-config", "")
        self.program("dpkg-query", "exit 1")

    def program(self, name: str, text: str) -> None:
        """Makes the program `name` of PATH a shell script."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def sites(self, *urls: str) -> None:
        """Makes apt's sources name these archives."""
        lines = "".join(f"'{url}/dists/suite/InRelease' name 0\n" for url in urls)
        self.program("apt-get", f"cat <<'END'\n{lines}END")

    def system(self, name: str) -> None:
        """Names the distribution."""
        (self.folder / "os-release").write_text(f"NAME=x\nID={name}\n")

    def python_apt(self, url: str) -> None:
        """Installs python-apt's list of archives."""
        listed = self.folder / "Debian.info"
        listed.write_text(f"Suite: trixie\nBaseURI: {url}\n")
        self.program("dpkg-query", f'[[ "$2" != python-apt-common ]] || echo {listed}')

    def list(self, *arguments: str, **environment: str) -> list[str]:
        """Runs the script."""
        done = subprocess.run(
            ["bash", SCRIPT, *arguments],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "OS_RELEASE": str(self.folder / "os-release"),
                "APT_SOURCES": str(self.folder / "apt"),
                **environment,
            },
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        return done.stdout.splitlines()


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    return Sources(tmp_path)


def test_debian_machine_names_its_archives_and_that_of_debian_first(
    sources: Sources,
) -> None:
    sources.system("debian")
    sources.sites(
        "https://tools.example/apt",
        "http://mirror.example/debian-security/",
        "http://mirror.example/debian/",
        "http://mirror.example/debian",
    )
    assert sources.list() == [
        "http://mirror.example/debian",
        "http://mirror.example/debian-security",
        "https://tools.example/apt",
    ]


def test_ubuntu_names_none_of_its_own_archives(sources: Sources) -> None:
    sources.system("ubuntu")
    sources.sites("http://archive.example/ubuntu", "http://security.example/ubuntu")
    assert sources.list() == []


def test_ubuntu_takes_the_archive_that_python_apt_names(sources: Sources) -> None:
    sources.system("ubuntu")
    sources.sites("http://archive.example/ubuntu")
    sources.python_apt("https://named.example/debian/")
    assert sources.list() == ["http://named.example/debian"]


def test_archive_in_the_sources_comes_before_that_of_python_apt(
    sources: Sources,
) -> None:
    sources.system("ubuntu")
    sources.sites("http://archive.example/ubuntu", "http://mirror.example/debian")
    sources.python_apt("https://named.example/debian/")
    assert sources.list() == ["http://mirror.example/debian"]


def test_list_of_mirrors_in_a_cloud_image_is_followed(
    sources: Sources, tmp_path: Path
) -> None:
    (tmp_path / "list").write_text("# mirrors\nhttp://listed.example/debian/\n")
    sources.sites(f"mirror+file:{tmp_path / 'list'}", "mirror+file:/absent")
    assert sources.list() == ["http://listed.example/debian"]


def test_environment_names_the_mirrors_and_services(sources: Sources) -> None:
    sources.sites("http://mirror.example/debian")
    given = "http://a.example/debian/  http://b.example/debian"
    expected = ["http://a.example/debian", "http://b.example/debian"]
    assert sources.list(DEBIAN_MIRROR=given) == expected
    assert sources.list("permanent", DEBIAN_SNAPSHOT=given) == expected


def test_permanent_service_is_the_one_in_apts_settings(sources: Sources) -> None:
    sources.program(
        "apt-config",
        "echo 'Acquire::Snapshots::URI::Origin::Debian"
        ' "https://kept.example/archive/debian/@SNAPSHOTID@/";\'',
    )
    assert sources.list("permanent") == ["https://kept.example/archive/debian"]


def test_permanent_service_is_the_one_that_an_image_was_made_from(
    sources: Sources,
) -> None:
    listed = sources.folder / "apt" / "sources.list.d" / "debian.sources"
    listed.write_text(
        "Types: deb\n# http://kept.example/archive/debian/20250520T000000Z\n"
        "URIs: http://mirror.example/debian\n"
        "# http://kept.example/archive/debian-security/20250520T000000Z\n"
    )
    assert sources.list("permanent") == ["http://kept.example/archive/debian"]


def test_machine_that_names_none_gives_nothing(sources: Sources) -> None:
    assert sources.list() == []
    assert sources.list("permanent") == []


def test_other_argument_is_refused(sources: Sources) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        sources.list("permanently")
    assert caught.value.returncode == 2
