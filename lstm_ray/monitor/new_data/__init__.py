"""A finished policy on new files: what has shifted, how right it is, what its monitor would have said."""
