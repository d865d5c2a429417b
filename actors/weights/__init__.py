"""Transfer of weights from the learner to every engine.

Imports nothing of ``actors.generators`` and ``actors.evaluators``: it reaches generators through their actor handles.
"""
