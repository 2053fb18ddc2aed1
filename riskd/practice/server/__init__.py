"""The practice gateway's network face: a ProjectX gateway on a port, for the clients of others."""
