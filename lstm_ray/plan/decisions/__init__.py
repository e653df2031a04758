"""Choosing action sequences by sampled futures."""
