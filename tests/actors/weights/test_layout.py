"""Bucket plans hold every byte of every tensor once, in order and within bounds; checksums detect corruption."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actors.weights.layout import (
    NO_DIGEST,
    CorruptWeights,
    Header,
    check_bucket,
    filled_bytes,
    make_header,
    plan_buckets,
)

SIZES = st.lists(st.integers(1, 300), max_size=30)


@given(SIZES, st.integers(1, 100))
def test_plan_has_every_byte_once_in_order(sizes, capacity):
    planned = [(piece.tensor, piece.start + byte) for bucket in plan_buckets(sizes, capacity) for piece in bucket
             for byte in range(piece.length)]  # fmt: skip
    assert planned == [(tensor, byte) for tensor, size in enumerate(sizes) for byte in range(size)]


@given(SIZES, st.integers(1, 100))
def test_pieces_of_a_bucket_are_contiguous_and_fit(sizes, capacity):
    for bucket in plan_buckets(sizes, capacity):
        end = 0
        for piece in bucket:
            assert piece.offset == end
            end += piece.length
        assert 0 < end == filled_bytes(bucket) <= capacity


@given(SIZES, st.integers(1, 100))
def test_only_tensors_larger_than_a_bucket_are_split_into_separate_buckets(sizes, capacity):
    for bucket in plan_buckets(sizes, capacity):
        for piece in bucket:
            assert (piece.length == sizes[piece.tensor]) == (sizes[piece.tensor] <= capacity)
            assert piece.length == sizes[piece.tensor] or bucket == (piece,)


@given(SIZES, st.integers(1, 100))
def test_first_buckets_are_small_and_all_are_filled_as_far_as_possible(sizes, capacity):
    buckets = plan_buckets(sizes, capacity)
    for number, (bucket, following) in enumerate(itertools.pairwise(buckets)):
        limit = capacity * min(2**number, 16) // 16
        assert filled_bytes(bucket) <= limit or len(bucket) == 1
        is_split = max(sizes[bucket[0].tensor], sizes[following[0].tensor]) > capacity
        assert is_split or filled_bytes(bucket) + following[0].length > limit


def test_plan_rejects_an_empty_tensor():
    with pytest.raises(ValueError, match="tensor 1 has 0 bytes"):
        plan_buckets([4, 0], 8)


@given(st.integers(0, 2**40), st.integers(0, 2**20), st.integers(0, 2**40), st.binary(min_size=16, max_size=16))
def test_header_survives_packing(version, index, length, digest):
    header = Header(version=version, index=index, length=length, digest=digest)
    assert Header.unpack(header.pack()) == header


def make_payload(length, seed=0):
    return torch.randint(0, 256, (length,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@given(st.integers(1, 20_000), st.data())
def test_checksum_detects_a_changed_byte(length, data):
    payload = make_payload(length)
    header = make_header(3, 5, payload, checksum=True)
    check_bucket(header, payload, 3, 5)
    payload[data.draw(st.integers(0, length - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CorruptWeights, match="checksum mismatch: the bytes changed between learner and engine"):
        check_bucket(header, payload, 3, 5)


def test_checksum_detects_exchanged_pages():
    payload = make_payload(3 * 4096)
    header = make_header(0, 0, payload, checksum=True)
    with pytest.raises(CorruptWeights):
        check_bucket(header, torch.cat([payload[4096:8192], payload[:4096], payload[8192:]]), 0, 0)


@pytest.mark.parametrize("checksum", [True, False])
@pytest.mark.parametrize(("version", "index", "length"), [(4, 5, 100), (3, 6, 100), (3, 5, 99)])
def test_unexpected_bucket_is_rejected(version, index, length, checksum):
    """The header identifies the bucket, so this needs no checksum."""
    payload = make_payload(100)
    header = make_header(3, 5, payload, checksum)
    with pytest.raises(CorruptWeights, match="was expected"):
        check_bucket(header, payload[:length], version, index)


def test_payload_of_another_bucket_under_the_expected_header_is_rejected():
    """Exchange two buckets of a publication, or the same bucket of two publications."""
    first = make_payload(8192, seed=1)
    second = make_payload(8192, seed=2)
    header = make_header(3, 5, first, checksum=True)
    with pytest.raises(CorruptWeights):
        check_bucket(header, second, 3, 5)
    moved = replace(make_header(3, 6, first, checksum=True), index=5)
    with pytest.raises(CorruptWeights):
        check_bucket(moved, first, 3, 5)


def test_payload_is_not_checked_without_checksum():
    payload = make_payload(100)
    header = make_header(3, 5, payload, checksum=False)
    assert header.digest == NO_DIGEST
    check_bucket(header, payload.clone().zero_(), 3, 5)
