"""What fails on one rank fails on all, at once, with the reason."""

import pytest

from learner.agreement import failing_together
from tests.two_ranks import on_two_ranks


class Refusal(Exception):
    pass


def attempt(failing, errors):
    """The message that a rank gets when ``failing`` ranks fail, each with its error; "" when it gets none."""
    rank, *_ = failing
    try:
        with failing_together("the work", Refusal):
            if rank in failing[1:]:
                raise errors[rank]
    except Refusal as error:
        return str(error)
    return ""


def messages(rank):
    return [
        attempt((rank, *failing), errors)
        for failing, errors in (
            ((), {}),
            ((1,), {1: OSError("disk full")}),
            ((0, 1), {0: OSError("a"), 1: KeyError("b")}),
            ((0, 1), {0: Refusal("the same"), 1: Refusal("the same")}),
        )
    ]


@pytest.mark.heavy
def test_two_ranks(tmp_path):
    """At once: a rank that waited for the group's deadline would not answer within the test's limit."""
    for found in on_two_ranks(messages, tmp_path):
        assert found == [
            "",
            "the work: rank 1: OSError: disk full",
            "the work: rank 0: OSError: a; rank 1: KeyError: 'b'",
            "the work: the same",
        ]


@pytest.mark.usefixtures("process_group")
def test_one_rank():
    with failing_together("the work", Refusal):
        pass
    with pytest.raises(Refusal, match=r"^the work: ValueError: no$") as caught, failing_together("the work", Refusal):
        raise ValueError("no")
    assert isinstance(caught.value.__cause__, ValueError)
