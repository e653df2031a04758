"""gRPC: the contract in policy.proto, its messages, and how they are answered."""
