"""Policies that CEL cannot say: one folder a pack, one file a check. Never imported from a mounted folder."""
