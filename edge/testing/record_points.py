"""Records episodes of the smallest robot and says so, until it is killed.

python -m edge.testing.record_points FOLDER
"""

import sys
from pathlib import Path

from edge.testing import shared_episodes

_MORE_THAN_ANY_TEST_WAITS_FOR = 100_000

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    for name in shared_episodes.make_each(folder, _MORE_THAN_ANY_TEST_WAITS_FOR):
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()
