"""A server under load: steps, spikes, a soak, slow and hostile clients, a killed replica; what breaks first."""
