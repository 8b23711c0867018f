"""Who made an update: signed messages, certificates, catalogs, the chain of trust."""
