"""Files to one table, typed by role."""
