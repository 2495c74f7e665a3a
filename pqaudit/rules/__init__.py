"""Rules and registries: the facts, read from YAML."""
