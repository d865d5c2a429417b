"""Measurements against other systems (``make bench NAME=evaluator``). Not part of the installed package."""
