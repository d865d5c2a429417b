"""Hydra YAML and the schema that validates what it composes to."""
