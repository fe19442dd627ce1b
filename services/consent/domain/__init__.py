"""What may be defined, decided and said by a signal. Pure."""
