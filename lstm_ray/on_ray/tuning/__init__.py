"""A search of settings: its trials as legs on disk, who proposes them, and what runs each."""
