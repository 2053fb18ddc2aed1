"""Beyond one machine: what riskd on many traders' machines sends to one desk, over NATS JetStream.

- :mod:`~riskd.desk.messages`: subjects, numbers and payloads.

riskd itself knows nothing of any bus.
"""
