"""The training loop: sampling, judging and learning, step by step, and what a run remembers."""
