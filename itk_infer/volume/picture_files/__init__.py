"""What picture files hold: one module per library that decodes them."""
