"""Model checkpoints: find, download or build one, train the starter policy, export a checkpoint with a model card."""
