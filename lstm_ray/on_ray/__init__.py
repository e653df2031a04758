"""The jobs that Ray does, one file each. The only folder that imports ray; every result equals the one without it."""
