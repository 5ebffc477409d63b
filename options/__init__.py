"""Options of each program: every default is visible there, and every option is on the command line."""
