"""Evaluation of a model: sample and judge answers, keep each in a log at once, compute pass@k."""
