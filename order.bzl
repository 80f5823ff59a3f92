"""The order of folders and rooms: who may import whom, written once.

A folder imports only the folders named beside it. Inside a folder the ground (its own
package: errors, and what every room uses) comes first and the rooms follow, each of
which imports only the ground and the rooms before it. `import_groups` turns this into
package groups, so that Bazel refuses any other arrow.
"""

FOLDERS = {
    "base": [],
    "cloud": ["base", "rlds", "model", "release"],
    "edge": ["base", "rlds", "release"],
    "model": ["base", "rlds"],
    "release": ["base"],
    "rlds": ["base"],
}

# In the order in which they may import: each one those before it.
ROOMS = {
    "base": ["store"],
    "cloud": ["ingest", "index", "dataset", "curate", "train", "package", "evaluate", "exchange", "job"],
    "edge": ["robots", "actors", "redact", "control", "episodes", "ota", "loops", "operator", "processes"],
    "model": ["learn", "export"],
    "release": ["signing", "commands"],
    "rlds": ["show"],
}

# Packages of a folder that stand above its rooms: they may import all of them.
ROOFS = {
    "base": ["testing"],
    "cloud": ["colab", "demo", "testing"],
    # The commands //edge:run and //edge:record lie in the folder's own package.
    "edge": ["", "bundle", "testing"],
    "model": ["testing"],
    "release": ["examples", "private", "testing"],
    "rlds": ["testing"],
}

# Rooms that a folder may not import, though it may import their folder: a robot
# verifies and never signs.
CLOSED = {
    "release/commands": ["edge"],
    "release/signing": ["edge"],
}

def importers(folder, room = None):
    """Lists the packages that may import a folder's ground, or one of its rooms.

    Args:
        folder: a key of FOLDERS.
        room: a room of it; None for its ground.

    Returns:
        Package specifications, as `package_group` takes them.
    """
    closed = CLOSED.get("%s/%s" % (folder, room), [])
    found = [
        "//%s/..." % other
        for other, imported in FOLDERS.items()
        if folder in imported and other not in closed
    ]
    found.append("//tests/...")
    if room == None:
        return found + ["//%s/..." % folder]
    rooms = ROOMS[folder]
    found += ["//%s/%s/..." % (folder, later) for later in rooms[rooms.index(room):]]
    return found + ["//%s/%s" % (folder, roof) if roof else "//" + folder for roof in ROOFS[folder]]

def import_groups(name):
    """Makes one package group for each ground and each room.

    Args:
        name: what their names begin with: `NAME_FOLDER` and `NAME_FOLDER_ROOM`.
    """
    for folder in FOLDERS:
        native.package_group(
            name = "%s_%s" % (name, folder),
            packages = importers(folder),
        )
        for room in ROOMS[folder]:
            native.package_group(
                name = "%s_%s_%s" % (name, folder, room),
                packages = importers(folder, room),
            )
