"""The scoring command, ``python -m evaluator.score``.

``inputs`` reads the arguments and both input files, ``verdict_file`` writes one row per program, ``tables`` formats
status counts and pass@k, and ``__main__`` connects them to the evaluator.
"""
