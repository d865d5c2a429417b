"""The scoring command, ``python -m evaluator.score``.

``options`` reads the arguments and ``inputs`` both input files, ``verdict_file`` writes one row per program,
``progress`` draws a bar, ``tables`` formats status counts and pass@k, ``explanation`` shows the tests of one program,
``terminal`` escapes and abbreviates text, and ``__main__`` connects them to the evaluator.
"""
