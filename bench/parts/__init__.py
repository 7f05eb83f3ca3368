"""One file a part: what is run, how it is told, how it is drawn. Runs without any library."""
