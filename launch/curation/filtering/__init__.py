"""Filter of candidates: duplicates, overlap with test sets, and statements that are no problem text.

    candidates ──► make_fingerprint ──► find_duplicates (all fingerprints, in one process)
    candidates ──► find_text_defect ──► OverlapIndex.check

Covered: statements that are equal or share most of their words, in whatever format and order. Not covered: paraphrases
and translations.
"""
