"""The learner: a child process that does one job with a package's functions.

It reads a job from stdin and says on stdout what it does (`learning_job`): it makes the
calls of a loop, or compiles one function for the next night. It ends as soon as its
stdin closes, in the middle of a call if need be: its parent wants that, or
is gone. It writes nothing but the file of new vectors, which counts only once the
parent has judged it. It gives way to everything else on the robot. It needs jax, and is
the only process of a robot that loads it: its packages are those of
//third_party/python:model.
"""

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Final

from base.errors import ContinuonError
from edge import raw_memory
from edge.loops import learning_job
from edge.loops.learning_job import Compiled, Failed, Job, Report
from edge.runtime_version import EXPORT_TARGET
from rlds import spool_key

EXIT_STOPPED = 3
_NICE: Final = 19  # the lowest: it runs when nothing else wants the processor
_OOM_SCORE: Final = 1000  # the first process to be killed when memory is short


def main() -> int:
    """Runs one job; returns the exit code."""
    _give_way()
    raw_memory.forbid_dumps()  # and no more: its parent measures what it uses
    job = learning_job.parse_job(sys.stdin.buffer.readline(learning_job.LIMIT_BYTES))
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if job.function is None:
        _use_threads(job.threads)
    # Else a function is compiled, while nobody drives. XLA keeps what it has made of
    # each kernel until a thread compiles it: with one thread, that is 30 to 50 MB more.
    try:
        return _run(job)
    except ContinuonError as e:
        _say(Failed(f"{e.source}: expected {e.expected}, got {e.got}"))
        return 1
    except OSError as e:
        _say(Failed(" ".join(str(e).split())))
        return 1


def _give_way() -> None:
    """Takes the lowest priority, which needs no right, before jax is loaded."""
    with contextlib.suppress(OSError):
        os.nice(_NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(f"{_OOM_SCORE}\n")


def _use_threads(count: int) -> None:
    """Keeps this process to some of the processors that it may use: the last ones.

    jax makes as many threads as there are processors when it first computes.

    Args:
        count: processors; 0 for all.
    """
    if count and hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[-count:])


def _run(job: Job) -> int:
    # jax takes a second of the processor to load, and not before there is a job.
    from edge.loops.package_functions import PackageFunctions, compile_function
    from release.verification import verify_integrity

    spool_key.inherit()
    package = verify_integrity(job.package, EXPORT_TARGET)
    if job.function is not None and job.cache is not None:
        compile_function(package, job.function, job.cache)
        _say(Compiled(job.function))
        return 0
    functions = PackageFunctions(package, job.loop, job.cache)
    return 0 if functions.run(job, _say) else EXIT_STOPPED


def _say(report: Report) -> None:
    sys.stdout.buffer.write(learning_job.encode_report(report))
    sys.stdout.buffer.flush()


def _end_with_parent() -> None:
    """Waits for the end of stdin, then ends this process at once.

    jax computes and compiles without Python's lock, so this thread gets its turn.
    """
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(EXIT_STOPPED)


if __name__ == "__main__":
    sys.exit(main())
