"""Training proof of the curation: the curated part of a pool against a random part of the same size.

``make bench NAME=curation_training`` builds the pool, curates it with ``launch.curate``, trains both arms with three
seeds, and writes a row per run into ``results/``; rows are data and are committed. ``results/README.md`` is made from
them.
"""
