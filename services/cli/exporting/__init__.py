"""`c360 export`: what a source sent, as the customer log has it, into one file that is there whole or not at all."""
