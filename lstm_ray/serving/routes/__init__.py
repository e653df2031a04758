"""The routes of a served policy, by task. Know FastAPI; know no Ray."""
