"""Imports the package of a simulated robot, when such a robot is opened.

So a process that drives a real arm never loads it.
"""

import importlib
from types import ModuleType

from edge.errors import RobotUnavailableError


def load(module: str, robot: str, packages: str) -> ModuleType:
    """Imports a module.

    Args:
        module: its whole name.
        robot: the robot string that needs it, for errors.
        packages: what has to be installed, for errors.

    Raises:
        RobotUnavailableError: it is not installed here, or does not load.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as e:
        raise RobotUnavailableError(
            f"robot {robot}",
            f"the packages {packages}",
            e,
            "use a real robot or install them",
        ) from e
    except ImportError as e:  # MuJoCo asks a process of its own, which may be killed
        raise RobotUnavailableError(
            f"robot {robot}",
            f"to load the packages {packages}, which are here",
            e,
            "run again; if it comes again, look for what ended or refused them",
        ) from e
