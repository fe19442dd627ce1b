"""The containers of docker-compose.yml, built, started, killed and upgraded for real: `make compose-test`."""
