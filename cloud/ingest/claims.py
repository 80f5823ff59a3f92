"""Claims episode ids: the first folder that is admitted under an id keeps it.

`admitted/episode_id=<id>` names the folder and is signed by ingest. What anyone else
put there is no claim: it is replaced, so that it cannot lock the true episode out.
"""

from base.errors import (
    ContinuonError,
    NotFoundError,
    ObjectError,
    PreconditionFailedError,
    StoreError,
)
from base.json_fields import Fields
from base.store.store import Store
from cloud.errors import IngestRaceError
from cloud.ingest import signed_record
from release.signing.private_keys import PrivateKey
from release.trusted_keys import TrustedKeys
from rlds import raw_layout
from rlds.raw_layout import RawFolder

_KIND = "application/vnd.continuon.claim+json"
_VERSION = 1
_ATTEMPTS = 10  # after each lost race another run has made progress


def claim(raw: Store, folder: RawFolder, key: PrivateKey, trusted: TrustedKeys) -> str:
    """Returns the path of the folder that holds the id: this one, or an earlier one.

    Of two runs, or of two folders with the same id, exactly one succeeds.

    Args:
        raw: the raw store.
        folder: the folder that claims its episode's id.
        key: signs the claim.
        trusted: keys whose claims count.

    Raises:
        IngestRaceError: other runs kept changing the claim.
        StoreError: the store fails.
    """
    path = raw_layout.claim_path(folder.episode_id)
    value = {
        "schema_version": _VERSION,
        "episode_id": folder.episode_id,
        "folder": folder.path,
    }
    data = signed_record.sign(value, _KIND, key)
    for _ in range(_ATTEMPTS):
        generation = raw.generation(path)
        holder = read(raw, folder.episode_id, trusted) if generation else ""
        if holder:
            return holder
        try:
            raw.put(path, data, if_generation_match=generation)
        except PreconditionFailedError:
            continue  # another run put its claim in the meantime
        return folder.path
    raise IngestRaceError(
        f"{raw.uri}/{path}",
        "to claim the episode's id",
        f"overtaken {_ATTEMPTS} times by other runs",
        "let them finish and run this again",
    )


def read(raw: Store, episode_id: str, trusted: TrustedKeys) -> str:
    """Returns the path of the folder that claimed an id; "" if nobody validly did.

    Raises:
        StoreError: the store fails.
    """
    path = raw_layout.claim_path(episode_id)
    try:
        data = raw.get(path, signed_record.LIMIT_BYTES)
        value = signed_record.verify(data, _KIND, trusted, path)
        fields = Fields(value, path, ("schema_version", "episode_id", "folder"))
        fields.version(_VERSION)
        # A claim that was copied from another id says so.
        fields.one_of("episode_id", [episode_id])
        return fields.text("folder")
    except (NotFoundError, ObjectError):
        return ""
    except StoreError:
        raise
    except ContinuonError:
        return ""
