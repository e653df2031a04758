"""What is missing is filled, what is out of line is limited or masked."""
