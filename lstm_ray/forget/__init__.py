"""Taking a series out of all that a run stores, and saying what cannot be reached."""
