"""The published events of each owner, and the forms in which they cross the bus."""
