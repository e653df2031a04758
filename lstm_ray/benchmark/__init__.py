"""Suites that measure what the project claims, against targets, on the machine at hand. Knows no stage's inside."""
