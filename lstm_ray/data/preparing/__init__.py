"""Blocks of whole series to segments, whether the table fits in memory or not."""
