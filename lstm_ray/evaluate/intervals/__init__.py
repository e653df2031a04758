"""Whether intervals hold what they say: calibrated on validation, judged on test, followed over time. Knows no files."""
