"""What fnet costs beside its peers: `make bench` measures and writes README.md beside this."""
