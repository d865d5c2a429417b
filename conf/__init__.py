"""Configuration: Hydra YAML files, and the schema that validates the composed configuration."""
