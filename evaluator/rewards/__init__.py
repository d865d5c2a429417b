"""Rewards for other trainers: this evaluator as a function of TRL, of verl, and as a plain async function.

    passed, fraction     TRL's ``reward_funcs``
    compute_score        verl's ``custom_reward_function``
    compute_reward       one answer to one problem, from any event loop

All of them extract the program from an answer and judge it as ``Evaluator`` does. They share one evaluator per process,
which starts with the first answer and is closed at exit. docs/rewards.md has an example of each.

Covered: threads and event loops of one process; processes that are forked from it; Ctrl-C and exit while programs are
waiting. Not covered: one evaluator for several processes (each process has its own, so set ``workers`` accordingly),
and caching of verdicts (equal answers are judged again).
"""

from evaluator.rewards.functions import compute_reward, compute_score, fraction, passed
from evaluator.rewards.reward_evaluator import RewardSettings, RewardTimeout
from evaluator.rewards.shared import close, configure

__all__ = [
    "RewardSettings",
    "RewardTimeout",
    "close",
    "compute_reward",
    "compute_score",
    "configure",
    "fraction",
    "passed",
]
