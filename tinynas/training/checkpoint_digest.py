"""The digest of a checkpoint: SHA-256 of the file that torch.save makes, kept as that zip archive's comment.

torch.load ignores the comment, so a checkpoint stays a file of torch. It does not check the archive either.
"""

import io
from hashlib import sha256
from zipfile import ZipFile

_PREFIX = b"tinynas sha256 "
_COMMENT_SIZE = len(_PREFIX) + 64  # bytes
_END = b"PK\x05\x06"  # signature of the record that ends a zip archive: 22 bytes, without a comment
_END_SIZE = 22


def add_digest(archive: bytes) -> bytes:
    """Return what torch.save wrote, with its digest as the comment of the archive."""
    comment = _PREFIX + sha256(archive).hexdigest().encode()
    return archive[:-2] + len(comment).to_bytes(2, "little") + comment


def is_intact(raw: bytes) -> bool:
    """Return whether the content of a checkpoint is what its digest says.

    Those of earlier versions have no comment; the checksums of the archive's members are compared instead. Raises
    almost anything if such a file is corrupt.
    """
    if raw[-_END_SIZE:].startswith(_END):
        return ZipFile(io.BytesIO(raw)).testzip() is None
    archive = raw[: -_COMMENT_SIZE - 2] + bytes(2)
    return raw == add_digest(archive)
