"""The order of the folders, as the tests of this folder hold it."""

# Importing folder: the folders it may import, itself apart.
ORDER = {
    "base": set(),
    "rlds": {"base"},
    "release": {"base"},
    "model": {"base", "rlds"},
    "edge": {"base", "rlds", "release"},
    "cloud": {"base", "rlds", "model", "release"},
    "tests": {"base", "rlds", "model", "release", "edge", "cloud"},
}
