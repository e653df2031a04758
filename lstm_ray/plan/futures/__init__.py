"""Sampled futures of a policy, and how far they may be trusted. NumPy; knows no torch and no Ray."""
