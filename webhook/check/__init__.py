"""Checking objects that no API server sent: manifests in files become the reviews they would have been.

Knows nothing of `serve`.
"""
