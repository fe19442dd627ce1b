"""`c360 consent filter`: `people` reads whom a file names, `asking` asks consent about them, `command` writes who permits it."""
