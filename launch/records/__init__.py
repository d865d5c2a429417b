"""What a run writes and prints: the run directory, the timeline, the display, the summary."""
