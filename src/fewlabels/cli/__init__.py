"""The command line: scripts, the console command, and messages for mistakes."""
