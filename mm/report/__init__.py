"""What people read: the HTML report of one symbol, made from its executed notebook."""
