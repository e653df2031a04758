"""Values and errors that are unusual, told at a stated rate of false alarms."""
