"""The whole loop at work, unattended: real data replayed, a shift, a challenger, a rollback; told as a story."""
