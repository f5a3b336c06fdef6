"""Sources that `tinynas.deploy.firmware` copies into a folder for firmware."""
