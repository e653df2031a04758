"""The sections of the YAML, one frozen model per stage. Each refuses what contradicts itself; opens no data."""
