"""The tour: the real webhook on loopback TLS, real reviews, and what the log then proves.

Only the API server is missing: the tour posts the AdmissionReviews that it would post, and writes its audit log.
"""
