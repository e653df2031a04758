"""Finished runs side by side: which is better, and whether that was luck."""
