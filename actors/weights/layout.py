"""Layout of published weights: the order of the tensors, their split into buckets, and the header of each bucket.

Sender and receivers compute the same plan from the same names and shapes, so only headers and bytes are transferred.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

CHECKSUM_ROW_BYTES = 4096
"""Bytes that the checksum sums up as one row of 64-bit words."""
DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)  # digest of a header when checksums are off
_HEADER = struct.Struct(f"<qqq{DIGEST_BYTES}s")
HEADER_BYTES = _HEADER.size


class CorruptWeights(RuntimeError):
    """A received bucket is not the expected one; the message says which one it is and how it differs."""


@dataclass(frozen=True)
class WeightLayout:
    """Names and shapes of the tensors in the order in which they are sent, and the dtype in which they are sent.

    Sender and receivers have the same layout.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of each tensor in bytes."""
        return tuple(math.prod(shape) * self.dtype.itemsize for shape in self.shapes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Bytes ``start`` to ``start + length`` of the tensor with index ``tensor``, at byte ``offset`` of the bucket."""

    tensor: int
    start: int
    offset: int
    length: int


Bucket = tuple[Piece, ...]


def plan_buckets(sizes: Sequence[int], capacity: int) -> tuple[Bucket, ...]:
    """Assign tensors of ``sizes`` bytes, in order, to buckets of at most ``capacity`` bytes.

    The first buckets are smaller, because receivers can load nothing before the first one has arrived: the first has
    ``capacity`` / 16 bytes, or one tensor, and the limit doubles with each bucket. A tensor larger than ``capacity`` is
    split over several buckets, which contain nothing else. Raises ValueError for an empty tensor.
    """
    buckets: list[list[Piece]] = [[]]
    for tensor, size in enumerate(sizes):
        if size < 1:
            raise ValueError(f"tensor {tensor} has {size} bytes: empty tensors cannot be assigned to a bucket")
        for start in range(0, size, capacity):
            length = min(size - start, capacity)
            filled = filled_bytes(buckets[-1])
            if filled and (size > capacity or filled + length > capacity >> max(0, 5 - len(buckets))):
                buckets.append([])
            buckets[-1].append(Piece(tensor=tensor, start=start, offset=filled_bytes(buckets[-1]), length=length))
        if size > capacity:
            buckets.append([])
    return tuple(tuple(bucket) for bucket in buckets if bucket)


def filled_bytes(bucket: Sequence[Piece]) -> int:
    """Return the number of bytes that the bucket's pieces fill."""
    return bucket[-1].offset + bucket[-1].length if bucket else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Header that is sent before a bucket.

    Attributes:
        version: version of the weights.
        index: index of the bucket in the plan.
        length: bytes of the bucket.
        digest: checksum of the bucket, or ``NO_DIGEST``.
    """

    version: int
    index: int
    length: int
    digest: bytes

    def pack(self) -> bytes:
        return _HEADER.pack(self.version, self.index, self.length, self.digest)

    @classmethod
    def unpack(cls, data: bytes) -> Header:
        version, index, length, digest = _HEADER.unpack(data)
        return cls(version=version, index=index, length=length, digest=digest)


def make_header(version: int, index: int, payload: Tensor, checksum: bool) -> Header:
    """Build the header of the bucket with bytes ``payload``, of shape [n] and dtype uint8."""
    return Header(
        version=version,
        index=index,
        length=len(payload),
        digest=compute_digest(version, index, payload) if checksum else NO_DIGEST,
    )


def check_bucket(header: Header, payload: Tensor, version: int, index: int) -> None:
    """Check that a received bucket is the expected one and intact.

    Args:
        header: received header.
        payload: received bytes, of shape [length of the expected bucket] and dtype uint8.
        version: expected version of the weights.
        index: expected index in the plan.

    Raises:
        CorruptWeights: it is another bucket, or its checksum does not match.
    """
    if (header.version, header.index, header.length) != (version, index, len(payload)):
        raise CorruptWeights(
            f"received bucket {header.index} of weights version {header.version} ({header.length} bytes), but "
            f"bucket {index} of version {version} ({len(payload)} bytes) was expected"
        )
    if header.digest != NO_DIGEST and header.digest != compute_digest(version, index, payload):
        raise CorruptWeights(
            f"bucket {index} of weights version {version}: checksum mismatch: the bytes changed between learner and "
            "engine"
        )


def compute_digest(version: int, index: int, payload: Tensor) -> bytes:
    """Return a checksum of a bucket, its version and its index.

    It is BLAKE2b over the sums of the bucket's 4 KiB rows of 64-bit words, and over the bytes after the last full row.
    Summing reads memory at full speed, ten times as fast as zlib.crc32. Detected: any change within one word, and
    exchanged rows, buckets or versions. Not detected: words exchanged within a row.
    """
    whole = len(payload) // CHECKSUM_ROW_BYTES * CHECKSUM_ROW_BYTES
    rows = payload[:whole].view(torch.int64).view(-1, CHECKSUM_ROW_BYTES // 8).sum(1)
    hasher = hashlib.blake2b(struct.pack("<qqq", version, index, len(payload)), digest_size=DIGEST_BYTES)
    hasher.update(rows.numpy().data)
    hasher.update(payload[whole:].numpy().data)
    return hasher.digest()


def tensor_digest(tensor: Tensor) -> str:
    """Return the BLAKE2b digest of a tensor's bytes, in hexadecimal, for comparisons in tests."""
    return hashlib.blake2b(tensor.contiguous().view(-1).view(torch.uint8).numpy().data, digest_size=16).hexdigest()
