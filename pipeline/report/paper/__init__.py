"""The paper: the numbers that it prints, its tables by our own runs, and what its sentences come to."""
