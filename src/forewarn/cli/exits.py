"""Exit statuses of commands, beside 0. ``engine check`` has one of its own."""

EXIT_USER_ERROR = 2
EXIT_INCOMPLETE = 4
EXIT_ALARM = 5
EXIT_INTERRUPTED = 130
