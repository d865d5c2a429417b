"""The counts of a roster, against looking at every member."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from actors.evaluators.autoscaling import IN_HAND
from actors.evaluators.roster import EvaluatorMember, PoolTimeouts, Roster

NO_HANDLE: Any = None
TIMEOUTS = PoolTimeouts(call_s=1.0, start_s=1.0)
ACTIONS = st.sampled_from(
    ["add", "mark_ready", "drain", "remove", "acquire", "acquire", "acquire", "release", "release"]
)


def counts(roster):
    return roster.size, roster.running, roster.busy, roster.busy_sandboxes, roster.sandboxes


def counted(members, sandboxes):
    running = [member for member in members if member.ready and not member.draining]
    return (
        sum(not member.draining for member in members),
        len(running),
        sum(member.busy for member in members),
        sum(min(member.busy, sandboxes) for member in members),
        sandboxes * sum(member.ready for member in members),
    )


def act(roster, sandboxes, what, number, present, calls):
    """One change, of a member that it can befall; ``present`` and ``calls`` say who is there and who has a call."""
    if what == "add":
        present.append(EvaluatorMember(name=f"evaluator {number}", handle=NO_HANDLE, timeouts=TIMEOUTS))
        roster.add(present[-1])
    elif what == "acquire":
        least = min(
            (m.busy for m in present if m.ready and not m.draining and m.busy < IN_HAND * sandboxes),
            default=None,
        )
        before = {member: member.busy for member in present}
        member = roster.acquire()
        assert (None if member is None else before[member]) == least
        calls.extend([] if member is None else [member])
    elif what == "release" and calls:
        roster.release(calls.pop(number % len(calls)))
    else:
        can = {
            "mark_ready": [m for m in present if not m.ready and not m.draining],
            "drain": [m for m in present if not m.draining],
            "remove": present,
        }.get(what, [])
        if can:
            member = can[number % len(can)]
            getattr(roster, what)(member)
            if what == "remove":
                present.remove(member)


@given(st.integers(1, 3), st.lists(st.tuples(ACTIONS, st.integers(0, 50)), max_size=80))
def test_counts_are_those_of_a_look_at_all(sandboxes, actions):
    roster = Roster(sandboxes)
    present = []
    calls = []
    for what, number in actions:
        act(roster=roster, sandboxes=sandboxes, what=what, number=number, present=present, calls=calls)
        assert list(roster.members) == present
        assert counts(roster) == counted(present, sandboxes)
    for member in calls:
        roster.release(member)
    assert (roster.busy, roster.busy_sandboxes) == (0, 0)
    assert all(member.busy == 0 for member in present)


def test_who_is_removed_while_it_starts_does_not_come_back():
    roster = Roster(1)
    member = EvaluatorMember(name="evaluator 0", handle=NO_HANDLE, timeouts=TIMEOUTS)
    roster.add(member)
    roster.remove(member)
    roster.mark_ready(member)
    assert roster.acquire() is None
    assert counts(roster) == (0, 0, 0, 0, 0)
