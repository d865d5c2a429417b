"""Curation of training problems: collect, process, filter and verify, each a Ray Data pipeline over blocks of rows."""
