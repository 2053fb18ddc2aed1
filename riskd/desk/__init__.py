"""Beyond one machine: from many traders' riskd to one desk, over NATS JetStream.

- :mod:`~riskd.desk.messages`: subjects, numbers and payloads.

riskd itself knows nothing of any bus.
"""
