"""What the tests with real programs share: the server as a child, plain protocol drivers, comparison, a report."""
