"""`c360 doctor`: looks at everything that it can reach, and says in words what is wrong and what to do."""
