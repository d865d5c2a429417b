"""What a person starts: the driver and its training loop, the warm start, and what they print and write."""
