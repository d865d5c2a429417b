"""Model checkpoints: found, fetched or built, and the card of an exported one."""
