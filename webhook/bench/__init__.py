"""The open-loop latency gate that users run (`wouldblock bench`), against any admission webhook.

    corpus ─ what is sent: seeded AdmissionReviews, or the user's own file
    target ─ where to, with which TLS
    wire ─── one keep-alive TLS connection, as the API server holds them
    driver ─ constant arrival rate; latency from the scheduled send, so a stalled target is not flattered
    machine  who waited for a CPU, and how long
    gate ─── windows, their verdict, and whether the verdict can be trusted

Nothing here knows policies, evaluation or serving. `benchmarks/` holds our own subjects and uses this.
"""
