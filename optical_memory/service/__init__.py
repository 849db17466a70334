"""The HTTP service: sessions of many tenants behind one address."""
