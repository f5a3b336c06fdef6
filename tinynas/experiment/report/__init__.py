"""The HTML report of runs: one file that opens from disk, made of their result files."""
