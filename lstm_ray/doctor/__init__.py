"""Looks at a machine, a storage and a cluster's nodes, and says what to mend. Knows no Ray."""
