"""Whether a finished run's scores can be believed: checks that each look for one way in which they could not."""
