"""What every HTTP door has: uvicorn with bounds of our own, and an id for each request."""
