"""Real mail programs as clients of the release binary."""
