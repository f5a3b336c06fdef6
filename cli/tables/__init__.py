"""Tables that show the results of commands."""
