"""What runs inside the measured processes; each file imports what its contender needs."""
