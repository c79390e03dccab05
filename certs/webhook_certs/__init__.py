"""Certificates of the webhook: a long-lived CA, short-lived serving certificates.

`issue` makes and rotates them, `status` says what expires when. The API server trusts the CA through `caBundle`
in the ValidatingWebhookConfiguration; since only leaves rotate, nothing patches that object at run time.

Beside `webhook.serve.tls` this is the only code that imports `cryptography`. It knows files and X.509, and
neither Kubernetes clients, nor settings, nor printing. Private keys leave it in one direction: into a file of
mode 0600.
"""
