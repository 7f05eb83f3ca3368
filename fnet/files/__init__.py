"""Files: weights, whole runs and exported programs."""
