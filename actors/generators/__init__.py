"""Generator role: vLLM engines in Ray actors, and the pool that routes requests to them and restarts them.

Imports ``actors.weights``, because the actor and its engine's workers load published weights. Imports nothing of
``actors.evaluators``.
"""
