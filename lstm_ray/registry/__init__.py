"""Policies that were kept, who is champion, and a ledger of every change with its evidence. Knows no torch, HTTP, Ray."""
