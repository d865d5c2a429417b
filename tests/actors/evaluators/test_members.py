"""Membership of an evaluator pool: its counts equal those computed from all members."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.autoscaling import CALLS_PER_SANDBOX
from actors.evaluators.members import EvaluatorMember, PoolMembership, PoolTimeouts

NO_HANDLE: Any = None
TIMEOUTS = PoolTimeouts(call_s=1.0, start_s=1.0)
ACTIONS = st.sampled_from(
    ["add", "mark_ready", "drain", "remove", "acquire", "acquire", "acquire", "release", "release"]
)


def read_counts(membership):
    return membership.size, membership.running, membership.busy, membership.busy_sandboxes, membership.sandboxes


def expected_counts(members, sandboxes):
    """Return the counts of ``read_counts``, computed from all members."""
    running = [member for member in members if member.ready and not member.draining]
    return (
        sum(not member.draining for member in members),
        len(running),
        sum(member.busy for member in members),
        sum(min(member.busy, sandboxes) for member in members),
        sandboxes * sum(member.ready for member in members),
    )


def apply_action(membership, sandboxes, action, number, present, calls):
    """Apply ``action`` to the membership, if it is possible, and update the expected state.

    Args:
        membership: membership under test.
        sandboxes: sandboxes per member.
        action: an element of ``ACTIONS``.
        number: selects the member or the call that the action is applied to.
        present: expected members; updated in place.
        calls: member of each unfinished call; updated in place.
    """
    if action == "add":
        present.append(EvaluatorMember(name=f"evaluator {number}", handle=NO_HANDLE, timeouts=TIMEOUTS))
        membership.add(present[-1])
    elif action == "acquire":
        least = min(
            (m.busy for m in present if m.ready and not m.draining and m.busy < CALLS_PER_SANDBOX * sandboxes),
            default=None,
        )
        before = {member: member.busy for member in present}
        member = membership.acquire()
        assert (None if member is None else before[member]) == least
        calls.extend([] if member is None else [member])
    elif action == "release" and calls:
        membership.release(calls.pop(number % len(calls)))
    else:
        candidates = {
            "mark_ready": [m for m in present if not m.ready and not m.draining],
            "drain": [m for m in present if not m.draining],
            "remove": present,
        }.get(action, [])
        if candidates:
            member = candidates[number % len(candidates)]
            getattr(membership, action)(member)
            if action == "remove":
                present.remove(member)


@given(st.integers(1, 3), st.lists(st.tuples(ACTIONS, st.integers(0, 50)), max_size=80))
def test_running_counts_equal_a_recount(sandboxes, actions):
    membership = PoolMembership(sandboxes)
    present = []
    calls = []
    for action, number in actions:
        apply_action(
            membership=membership, sandboxes=sandboxes, action=action, number=number, present=present, calls=calls
        )
        assert list(membership.members) == present
        assert read_counts(membership) == expected_counts(present, sandboxes)
    for member in calls:
        membership.release(member)
    assert (membership.busy, membership.busy_sandboxes) == (0, 0)
    assert all(member.busy == 0 for member in present)


def test_member_removed_while_starting_stays_removed():
    membership = PoolMembership(1)
    member = EvaluatorMember(name="evaluator 0", handle=NO_HANDLE, timeouts=TIMEOUTS)
    membership.add(member)
    membership.remove(member)
    membership.mark_ready(member)
    assert membership.acquire() is None
    assert read_counts(membership) == (0, 0, 0, 0, 0)
