"""A profile is a pure function of the customer's history, of what is asked of it, and of nothing else. Pure."""
