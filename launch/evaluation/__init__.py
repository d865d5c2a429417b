"""Evaluation of a policy: answers sampled and judged, kept as they come, and the figures made of them."""
