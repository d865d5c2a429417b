"""Records of a run: run directory, timeline, display and summary."""
