"""Profiles over HTTP, read-only, in the shape that users of Segment's Profile API know (docs/profile-api.md)."""
