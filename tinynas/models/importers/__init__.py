"""Networks of other libraries, with their weights, as networks of tinynas. One module for each way to find the arch."""
