"""Errors of one rank are raised on all ranks at once, with their reasons."""

import pytest

from learner.collective_errors import raise_on_all_ranks
from tests.two_ranks import run_on_two_ranks


class WorkError(Exception):
    pass


def error_message(rank, errors):
    """Return the message raised on ``rank`` when the ranks in ``errors`` (rank to error) fail; "" if there is none."""
    try:
        with raise_on_all_ranks("the work", WorkError):
            if rank in errors:
                raise errors[rank]
    except WorkError as error:
        return str(error)
    return ""


def error_messages(rank):
    return [
        error_message(rank, errors)
        for errors in (
            {},
            {1: OSError("disk full")},
            {0: OSError("a"), 1: KeyError("b")},
            {0: WorkError("the same"), 1: WorkError("the same")},
        )
    ]


@pytest.mark.heavy
def test_an_error_on_any_rank_is_raised_on_both_ranks(tmp_path):
    """A rank that waited for the process group's timeout would exceed the time limit of the test."""
    for messages in run_on_two_ranks(error_messages, tmp_path):
        assert messages == [
            "",
            "the work: rank 1: OSError: disk full",
            "the work: rank 0: OSError: a; rank 1: KeyError: 'b'",
            "the work: the same",
        ]


@pytest.mark.usefixtures("process_group")
def test_a_single_rank_raises_its_own_error():
    with raise_on_all_ranks("the work", WorkError):
        pass
    expected = pytest.raises(WorkError, match=r"^the work: ValueError: no$")
    with expected as caught, raise_on_all_ranks("the work", WorkError):
        raise ValueError("no")
    assert isinstance(caught.value.__cause__, ValueError)
