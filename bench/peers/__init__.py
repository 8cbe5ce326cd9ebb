"""What a user would pick instead, each written as its documentation shows. Only `make bench` runs these."""
