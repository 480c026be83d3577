"""The budgets of DESIGN section 2 that a test can hold the release binary to."""
