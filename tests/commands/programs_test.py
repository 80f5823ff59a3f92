"""Every program as Bazel makes it, with its launcher, on somebody's machine.

What a person's settings name for a Python of their own must not be imported, must not
keep a program from starting and must not change what it computes; what chooses devices
or reaches a network stays. Ctrl-C at any moment of the start shows no traceback.
"""

import json
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(os.environ["TEST_SRCDIR"], os.environ["TEST_WORKSPACE"])
PROGRAMS = os.environ["PROGRAMS"].split()
# Tools of this repository's own tests.
UNSHIPPED = {"cloud/testing/export_package"}

# Modules that every program imports, or that Python itself does at its start.
HIDDEN = ("absl", "base", "sitecustomize", "usercustomize", "typing", "random", "numpy")
RAISES = "raise SystemExit('imported from the caller')\n"

THEIR_ARM = """
from edge.robots.robot import Observation, RobotSpec, Transition

class TheirArm:
    spec = RobotSpec(1, 1, 50.0, "arm", "desk", "wait", (-1.0,), (1.0,), True)

    def __init__(self, clock):
        self.clock = clock

    def reset(self, seed):
        return Observation([0.0], self.clock.now_ns())

    def act(self, action):
        self.clock.advance(self.spec.period_ns)
        return Transition(self.reset(0), 0.0, None, False)

    def hold(self):
        pass

    close = hold

    @staticmethod
    def expert(observation):
        return [0.5]
"""

# The machine's own C library, which the packaged one must not meet.
C_LIBRARY = "/lib/x86_64-linux-gnu/libm.so.6"
CLEARED = {
    "PYTHONHOME": "/usr",
    "PYTHONPLATLIBDIR": "absent",
    "PYTHONOPTIMIZE": "2",  # would leave out asserts and every --help text
    "PYTHONWARNINGS": "error",
    "PYTHONINSPECT": "1",
    "PYTHONVERBOSE": "1",
    "PYTHONDEVMODE": "1",
    "PYTHONIOENCODING": "ascii",
    "PYTHONINTMAXSTRDIGITS": "0",
    "PYTHONUTF8": "0",
    "LD_PRELOAD": C_LIBRARY,
    "LD_AUDIT": "",
    "GCONV_PATH": "/absent",
    "JAX_ENABLE_X64": "1",
    "JAX_DEFAULT_MATMUL_PRECISION": "bfloat16",
    "JAX_THREEFRY_PARTITIONABLE": "0",
    "JAX_DISABLE_JIT": "1",
    "JAX_NUMPY_DTYPE_PROMOTION": "strict",
    "FLAX_LAZY_RNG": "0",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CONFIG": "{",
    "TFDS_DATA_DIR": "/absent",
    "KERAS_BACKEND": "torch",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
    "OPENBLAS_CORETYPE": "Prescott",
    "OMP_PROC_BIND": "true",
    "MKL_DYNAMIC": "0",
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "cpp",
    "MPLBACKEND": "absent",
    "MATPLOTLIBRC": "/absent",
    "OPENSSL_CONF": "/absent",
    # As in a hook of git.
    "GIT_DIR": "/absent",
    "GIT_WORK_TREE": "/absent",
    "GIT_INDEX_FILE": "/absent",
}
KEPT = {
    "CUDA_VISIBLE_DEVICES": "0",
    "GOOGLE_APPLICATION_CREDENTIALS": "/home/ada/key.json",
    "HTTPS_PROXY": "http://proxy.example:3128",
    "JAX_COMPILATION_CACHE_DIR": "/tmp/compiled",
    "JAX_PLATFORMS": "cpu",
    "LC_ALL": "C",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "SSL_CERT_FILE": "/etc/ssl/lab.pem",
    "STORAGE_EMULATOR_HOST": "http://127.0.0.1:9",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TZ": "Pacific/Kiritimati",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    # Two lines, the second of which looks like another variable.
    "NOTE": "one\nexport PYTHONPATH='two'",
}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder: every way to import from it leads to modules that raise."""
    home = tmp_path_factory.mktemp("home")
    for name in HIDDEN:
        (home / f"{name}.py").write_text(RAISES)
    for version in ("3.11", "3.12", "3.13", "3.14"):
        site = home / f".local/lib/python{version}/site-packages"
        site.parent.mkdir(parents=True)
        site.symlink_to(home)
    (home / "matplotlibrc").write_text("backend: absent\n")
    return home


def settings_of(caller: Path) -> dict[str, str]:
    """The environment of someone with a Python of their own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(caller),
        "BUILD_WORKING_DIRECTORY": str(caller),
        "PYTHONPATH": str(caller),
        "PYTHONUSERBASE": str(caller / ".local"),
        "PYTHONSTARTUP": str(caller / "typing.py"),
        "LD_LIBRARY_PATH": str(Path(C_LIBRARY).parent),
        **CLEARED,
        **KEPT,
    }


def test_every_program_that_ships_is_in_this_test() -> None:
    found = {
        (path.parent / name).relative_to(ROOT).as_posix()
        for folder in ("base", "cloud", "edge", "model", "release", "rlds")
        for path in (ROOT / folder).rglob("BUILD.bazel")
        for name in re.findall(
            r'^py_binary\(\n    name = "(\w+)"', path.read_text(), re.M
        )
    }
    assert found - UNSHIPPED == set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_starts_whatever_its_caller_has_set(
    program: str, caller: Path
) -> None:
    done = subprocess.run(
        [ROOT / program, "--help"],
        env=settings_of(caller),
        cwd=caller,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    # Python leaves docstrings out under PYTHONOPTIMIZE.
    assert "Flags:\n" in done.stdout
    assert not done.stdout.startswith("Flags:")


def test_robot_that_is_named_is_found_where_the_caller_has_it(caller: Path) -> None:
    # The rest of that folder stays out: its modules raise.
    (caller / "their_arm.py").write_text(THEIR_ARM)
    done = subprocess.run(
        [
            ROOT / "edge/record",
            "--robot=their_arm:TheirArm",
            "--output=out",
            "--max_steps=2",
        ],
        env={**settings_of(caller), "BUILD_WORKING_DIRECTORY": str(caller / ".local")},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "1 recorded" in done.stdout


def start_python(code: str, environment: dict[str, str]) -> str:
    """Runs `code` in the interpreter of the programs and returns what it prints."""
    interpreter = ROOT.parent / "py313/bin/python3"
    return subprocess.run(
        [interpreter, "-c", code],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def test_what_gets_in_the_way_is_cleared_and_the_rest_stays(caller: Path) -> None:
    given = settings_of(caller)
    del given["PYTHONPATH"]  # a program's launcher sets its own
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    got = json.loads(start_python(code, given))
    cleared = {*CLEARED, "PYTHONUSERBASE", "PYTHONSTARTUP", "LD_LIBRARY_PATH"}
    assert {name for name in given if name not in got} == cleared
    assert {name: got[name] for name in KEPT} == KEPT
    # The shell adds its own; nothing else is new.
    assert set(got) - set(given) <= {"PWD", "OLDPWD", "SHLVL", "_"}


def test_a_program_needs_no_python_on_path(tmp_path: Path) -> None:
    for name in ("env", "readlink"):
        (tmp_path / name).symlink_to(Path("/usr/bin", name))
    done = subprocess.run(
        [ROOT / "release/commands/verify", "--version"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("verify (ContinuonBrain) ")


def test_a_program_without_its_files_says_how_to_start_it(tmp_path: Path) -> None:
    alone = tmp_path / "verify"
    alone.write_bytes((ROOT / "release/commands/verify").read_bytes())
    alone.chmod(0o755)
    done = subprocess.run(
        [alone],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"verify: \S+: expected this program's files, got none; start it by "
        r"\./bazelw run\n",
        done.stderr,
    )


@pytest.mark.parametrize("tries", [10, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("program", ["release/commands/verify", "edge/run"])
def test_ctrl_c_at_any_moment_of_the_start_is_one_line_at_most(
    program: str, tries: int
) -> None:
    command = [str(ROOT / program), "--help"]
    environment = {"PATH": os.environ["PATH"]}
    began_s = time.monotonic()
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    whole_s = time.monotonic() - began_s
    drawn = random.Random(0)
    ends = set()
    for number in range(tries):
        with subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            # Half of them while Python itself starts.
            time.sleep(drawn.random() * (whole_s if number % 2 else 0.05))
            child.send_signal(signal.SIGINT)
            _, told = child.communicate(timeout=60)
        ends.add((child.returncode, told))
    name = program.rpartition("/")[2]
    interrupted = (130, f"{name}: interrupted\n")
    # The shell of the launcher ends silently, by the signal; so does Python at its end.
    assert interrupted in ends
    assert ends <= {interrupted, (-signal.SIGINT, ""), (0, "")}
