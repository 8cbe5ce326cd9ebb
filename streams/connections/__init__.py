"""The broker's stream protocol: frames, a client, a pool of clients, and the thread that runs them."""
