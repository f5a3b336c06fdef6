"""The shipped kinds of blocks, one file each; `tinynas/arch/block_kinds.py` loads them by name."""
