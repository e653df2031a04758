"""Which of several policies answers: a line-up that changes under load, canary, shadow, rollback. Knows no Ray."""
