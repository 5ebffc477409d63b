"""Options of each program: one class a file, every default visible there, every option on the command line."""
