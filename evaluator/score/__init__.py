"""The scoring command, ``python -m evaluator.score``.

``inputs`` reads the arguments and both input files, ``verdict_file`` writes one row for each program, ``tables``
formats status counts and pass@k, and ``__main__`` runs them around the evaluator.
"""
