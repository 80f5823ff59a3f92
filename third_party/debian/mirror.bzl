"""Downloads Debian packages from the mirrors that the machine is configured for."""

def mirror_urls(ctx, path):
    """Lists the URLs at which a file of a Debian archive may be found.

    Args:
        ctx: the repository rule's context.
        path: the file's path below the archive's root, `pool/…/name_version_arch.deb`.

    Returns:
        URLs, best first: those of DEBIAN_MIRROR (space separated), else those of
        the machine's apt sources, archives named `debian` before others.
    """
    configured = ctx.os.environ.get("DEBIAN_MIRROR", "")
    bases = [base for base in configured.split(" ") if base]
    if not bases:
        apt = ctx.which("apt-get")
        if apt:
            # Lines such as 'SITE/dists/SUITE/InRelease' NAME 0, even before the first update.
            listed = ctx.execute([apt, "update", "--print-uris"])
            bases = [
                line.split("'")[1].split("/dists/")[0]
                for line in listed.stdout.splitlines()
                if line.startswith("'") and "/dists/" in line
            ]
    bases = [base.rstrip("/") for base in bases]
    unique = {base: None for base in bases if base.endswith("/debian")}
    unique.update({base: None for base in bases})
    if not unique:
        fail("no Debian mirror: expected DEBIAN_MIRROR or apt sources on this machine, found neither; " +
             "set DEBIAN_MIRROR to the root of a Debian archive")
    return [base + "/" + path for base in unique]

def locked_packages(ctx, lock, architecture, purpose):
    """Reads the packages of one purpose and architecture from the lock.

    Args:
        ctx: the repository rule's context.
        lock: label of debs.lock.json.
        architecture: Debian's name, `amd64` or `arm64`.
        purpose: the lock's `purpose` field, `python` for example.

    Returns:
        A list of the lock's package entries.
    """
    found = [
        package
        for package in json.decode(ctx.read(ctx.path(lock)))["packages"]
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
    got = ctx.download(
        allow_fail = True,
        output = deb,
        sha256 = package["sha256"],
        url = mirror_urls(ctx, package["path"]),
    )
    if not got.success:
        fail(("Debian package %s %s: expected sha256 %s from a mirror, got none; " +
              "mirrors drop superseded versions, so renew the lock with " +
              "`./bazelw run //third_party/debian:lock`, or check DEBIAN_MIRROR and the network") %
             (package["name"], package["version"], package["sha256"]))
    ctx.extract(deb, output = "debs/" + package["name"])
    for name in ["data.tar.xz", "data.tar.zst", "data.tar.gz"]:
        data = ctx.path("debs/%s/%s" % (package["name"], name))
        if data.exists:
            ctx.extract(data, output = output)
            break
    ctx.delete("debs")
