"""What is run, how it is told, how it is drawn; without any library, which only `jobs` import."""
