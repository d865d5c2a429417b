"""Processing of candidates: clean statements, examples compared with tests, and a bounded number of tests."""
