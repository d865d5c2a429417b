"""Examination of the machines that a run would use (``launch.doctor``).

facts.py ──NodeFacts──► checks.py ──Check──► examination.py, report.py
collective.py: a reduction over all processes of the run ──Check──┘
"""
