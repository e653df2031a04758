"""Rows that came while a policy was at work: kept without doubles, for retraining, and deleted for good. Knows no policy."""
