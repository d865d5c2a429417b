"""The scoring command, ``python -m evaluator.score``: see ``__main__``."""
