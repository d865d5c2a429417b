"""Evaluator role: sandboxes in Ray actors, and the pool that routes calls to them, scales and replaces them.

Imports nothing of ``actors.generators`` and ``actors.weights``.
"""
