"""Reports on the state of tunnels before policies, in forms that can be handed over."""
