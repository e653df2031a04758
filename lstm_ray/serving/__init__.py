"""A policy behind HTTP: bodies, routes, gate, pages, model card, and the proof that answers are right. Knows no Ray."""
