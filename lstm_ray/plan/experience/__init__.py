"""Synthetic sequences: how they are made, how real they look, whether training on them helps. Knows no torch and no Ray."""
