"""What a run takes on devices that are here or not, before it runs."""
