"""Books, proof, receipts and lag, as the commands show them."""
