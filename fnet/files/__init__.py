"""Files: weights and whole runs, written whole or not at all, and checked when they are read."""
