"""How scores fall when inputs are damaged. Knows models only by what they answer."""
