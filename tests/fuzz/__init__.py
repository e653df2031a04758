"""Files and bodies that nobody meant: each is read, or refused in words, and nothing is written beside the run directory."""
