"""The layout of published weights: tensors in order, cut into buckets, each with a header that identifies it.

Both ends make the same plan of the same names and shapes, so only headers and bytes cross.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAGE = 4096
"""Bytes that the checksum adds up as one row of 64-bit words."""
DIGEST_BYTES = 16
NO_DIGEST = bytes(DIGEST_BYTES)
_HEADER = struct.Struct(f"<qqq{DIGEST_BYTES}s")
HEADER_BYTES = _HEADER.size


class CorruptWeights(RuntimeError):
    """A bucket is not the one that was sent; the message says which and how it differs."""


@dataclass(frozen=True)
class WeightLayout:
    """Names and shapes of the tensors in the order they are sent in, and the dtype sent; the same on both ends."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtype: torch.dtype

    @property
    def sizes(self) -> tuple[int, ...]:
        """Bytes of each tensor."""
        return tuple(math.prod(shape) * self.dtype.itemsize for shape in self.shapes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Bytes ``start`` to ``start + length`` of one tensor, at ``offset`` of the bucket."""

    tensor: int
    start: int
    offset: int
    length: int


Bucket = tuple[Piece, ...]


def plan_buckets(sizes: Sequence[int], capacity: int) -> tuple[Bucket, ...]:
    """Tensors of ``sizes`` bytes, in order, in buckets of at most ``capacity`` bytes.

    The first buckets are smaller, because nobody can load anything before the first has come: ``capacity`` / 16, or one
    tensor, then twice as much each time. A tensor that is larger than ``capacity`` is cut, into buckets that hold
    nothing else. Raises ValueError for an empty tensor.
    """
    buckets: list[list[Piece]] = [[]]
    for tensor, size in enumerate(sizes):
        if size < 1:
            raise ValueError(f"tensor {tensor} has {size} bytes: an empty tensor has no place in a bucket")
        for start in range(0, size, capacity):
            length = min(size - start, capacity)
            filled = bucket_bytes(buckets[-1])
            if filled and (size > capacity or filled + length > capacity >> max(0, 5 - len(buckets))):
                buckets.append([])
            buckets[-1].append(Piece(tensor=tensor, start=start, offset=bucket_bytes(buckets[-1]), length=length))
        if size > capacity:
            buckets.append([])
    return tuple(tuple(bucket) for bucket in buckets if bucket)


def bucket_bytes(bucket: Sequence[Piece]) -> int:
    """How much of the buffer is filled."""
    return bucket[-1].offset + bucket[-1].length if bucket else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """Goes before a bucket: weights' version, place in the plan, bytes, and checksum (``NO_DIGEST`` without)."""

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
    """Of the bucket's bytes ``payload`` [n] uint8."""
    return Header(
        version=version,
        index=index,
        length=len(payload),
        digest=digest(version, index, payload) if checksum else NO_DIGEST,
    )


def check_bucket(header: Header, payload: Tensor, version: int, index: int) -> None:
    """Is this the bucket that is due? ``payload`` [header.length] uint8. Raises CorruptWeights."""
    if (header.version, header.index, header.length) != (version, index, len(payload)):
        raise CorruptWeights(
            f"bucket {header.index} of weights version {header.version} ({header.length} bytes) came, "
            f"bucket {index} of version {version} ({len(payload)} bytes) was due"
        )
    if header.digest != NO_DIGEST and header.digest != digest(version, index, payload):
        raise CorruptWeights(f"bucket {index} of weights version {version}: its bytes are not those that were sent")


def digest(version: int, index: int, payload: Tensor) -> bytes:
    """Checksum of a bucket and its place: BLAKE2b over the sums of its 4 KiB rows of 64-bit words, and its last bytes.

    The sums read memory as fast as it goes, where zlib.crc32 manages a tenth of that. A changed byte, however many in
    one word, changes its row's sum; rows, buckets and versions cannot be exchanged unseen. Words exchanged within a
    row can.
    """
    whole = len(payload) // PAGE * PAGE
    rows = payload[:whole].view(torch.int64).view(-1, PAGE // 8).sum(1)
    hasher = hashlib.blake2b(struct.pack("<qqq", version, index, len(payload)), digest_size=DIGEST_BYTES)
    hasher.update(rows.numpy().data)
    hasher.update(payload[whole:].numpy().data)
    return hasher.digest()


def tensor_digest(tensor: Tensor) -> str:
    """BLAKE2b of a tensor's bytes, for the comparison of every tensor."""
    return hashlib.blake2b(tensor.contiguous().view(-1).view(torch.uint8).numpy().data, digest_size=16).hexdigest()
