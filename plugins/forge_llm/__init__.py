"""Language models: fetch a base, make token ids, train an adapter, export, prove."""
