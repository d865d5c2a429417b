"""Ray actors of the three roles (generator, evaluator, learner rank), their pools, and the weight transfer.

The actors are thin: the computation lives in ``learner``, ``evaluator`` and vLLM.
"""
