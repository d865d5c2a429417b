"""The evaluator role: sandboxes in Ray actors, and the pool that routes, scales and replaces them.

Imports nothing of ``actors.generators`` and ``actors.weights``.
"""
