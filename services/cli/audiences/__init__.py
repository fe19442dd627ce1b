"""`c360 consent filter` and `askable --file`: `people` reads whom a file names, `asking` and `asking_again` ask consent about them, `command` writes
who is kept."""
