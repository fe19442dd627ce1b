"""`c360 rights report`: all that is known of one person, for the person, into a folder that is there whole or not at all."""
