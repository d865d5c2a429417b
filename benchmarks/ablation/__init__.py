"""Ablation: what each part of the method is worth on the built-in problems.

``make ablation`` runs every arm with three seeds and writes a row per run into ``results/``; rows are data and are
committed. ``docs/ablation.md`` is made from them.
"""
