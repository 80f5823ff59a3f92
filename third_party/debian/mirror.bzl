"""Downloads Debian packages from the mirrors that the machine is configured for."""

_MIRRORS = Label("//third_party/debian:mirrors.sh")

# The environment that a repository rule which fetches Debian packages depends on.
MIRROR_ENVIRON = ["DEBIAN_MIRROR", "DEBIAN_SNAPSHOT"]

def _list_bases(ctx, *arguments):
    listed = ctx.execute(["bash", ctx.path(_MIRRORS)] + list(arguments))
    if listed.return_code:
        fail("listing Debian mirrors: " + listed.stderr)
    return listed.stdout.splitlines()

def mirror_urls(ctx, path, snapshot):
    """Lists the URLs at which a file of a Debian archive may be found.

    Args:
        ctx: the repository rule's context.
        path: the file's path below the archive's root, `pool/…/name_version_arch.deb`.
        snapshot: a time at which the archive held the file, `YYYYMMDDTHHMMSSZ`.

    Returns:
        URLs, best first: those of mirrors, then those of services that keep every version.
    """
    urls = ["%s/%s" % (base, path) for base in _list_bases(ctx)]
    urls += ["%s/%s/%s" % (base, snapshot, path) for base in _list_bases(ctx, "permanent")]
    if not urls:
        fail("no Debian mirror: expected DEBIAN_MIRROR, apt sources of Debian or python-apt on " +
             "this machine, found none; set DEBIAN_MIRROR to the root of a Debian archive, " +
             "such as DEBIAN_MIRROR=http://HOST/debian")
    return urls

def locked_packages(ctx, lock, architecture, purpose):
    """Reads the packages of one purpose and architecture from the lock.

    Args:
        ctx: the repository rule's context.
        lock: label of debs.lock.json.
        architecture: Debian's name, `amd64` or `arm64`.
        purpose: the lock's `purpose` field, `python` for example.

    Returns:
        A list of the lock's package entries, each with the lock's `snapshot`.
    """
    content = json.decode(ctx.read(ctx.path(lock)))
    found = [
        package | {"snapshot": content["snapshot"]}
        for package in content["packages"]
        if package["architecture"] == architecture and package["purpose"] == purpose
    ]
    if not found:
        fail("%s: expected packages for %s on %s, found none; run `./bazelw run //third_party/debian:lock`" %
             (lock, purpose, architecture))
    return found

def unpack_package(ctx, package, output):
    """Downloads one package by hash and unpacks its files.

    Args:
        ctx: the repository rule's context.
        package: an entry of the lock.
        output: folder to unpack into.
    """
    deb = "debs/%s.deb" % package["name"]
    urls = mirror_urls(ctx, package["path"], package["snapshot"])
    got = ctx.download(
        allow_fail = True,
        output = deb,
        sha256 = package["sha256"],
        url = urls,
    )
    if not got.success:
        fail(("Debian package %s %s: expected sha256 %s from one of %s, got none; check the " +
              "network and DEBIAN_MIRROR. Mirrors drop superseded versions: then set " +
              "DEBIAN_SNAPSHOT to the root of a service that keeps them, or renew the lock " +
              "with `./bazelw run //third_party/debian:lock`") %
             (package["name"], package["version"], package["sha256"], ", ".join(urls)))
    ctx.extract(deb, output = "debs/" + package["name"])
    for name in ["data.tar.xz", "data.tar.zst", "data.tar.gz"]:
        data = ctx.path("debs/%s/%s" % (package["name"], name))
        if data.exists:
            ctx.extract(data, output = output)
            break
    ctx.delete("debs")
