"""MicroCoder-GRPO's mathematics and training state: objective, masks, policy, optimizer, checkpoints.

A function that evaluates a formula is named after the quantity it returns, as in ``torch.nn.functional``
(``token_weights``, ``policy_loss``); all other functions are named by a verb.
"""
