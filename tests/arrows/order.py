"""The order of the folders, as the tests of this folder hold it."""

# Importing folder: the folders it may import, itself apart.
ORDER = {
    "rlds": set(),
    "model": {"rlds"},
    "release": {"rlds"},
    "edge": {"rlds", "release"},
    "cloud": {"rlds", "model", "release"},
    "tests": {"rlds", "model", "release", "edge", "cloud"},
}
