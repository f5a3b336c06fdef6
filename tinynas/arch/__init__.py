"""A network as plain data: architectures, search spaces, NetAug spaces, counted cost, shipped networks. No torch."""
