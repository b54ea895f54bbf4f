"""Networks that an MMEngine config can name; importing this package registers them."""
