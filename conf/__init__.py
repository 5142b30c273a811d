"""Hydra configuration: config.yaml is the table of contents, each folder a group of choices."""
