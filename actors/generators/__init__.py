"""The generator role: vLLM engines in Ray actors, and the pool that routes to them and replaces them.

Imports ``actors.weights``: the actor and its engine's workers load published weights. Nothing of ``actors.evaluators``.
"""
