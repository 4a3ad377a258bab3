"""What the sink `preview` is made of: address, newest of everything, server, page."""
